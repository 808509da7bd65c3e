# What the scripts share: installing what is missing. Sourced, not run.

# need_command COMMAND PACKAGE: installs PACKAGE if COMMAND is missing, as root or through sudo; says how otherwise.
need_command() {
  command -v "$1" >/dev/null 2>&1 && return
  local install="apt-get install -y --no-install-recommends $2"
  if ! command -v apt-get >/dev/null 2>&1; then
    echo "$1 is missing: install the package $2" >&2
    exit 1
  elif [ "$(id -u)" = 0 ]; then
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive $install -qq; } >/dev/null
  elif sudo -n true 2>/dev/null; then
    { sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive $install -qq; } >/dev/null
  else
    echo "$1 is missing: sudo $install" >&2
    exit 1
  fi
}

# need_fuse_device: says what to do if this machine cannot mount.
need_fuse_device() {
  [ -e /dev/fuse ] && return
  echo "/dev/fuse is missing: modprobe fuse (in a container: --device /dev/fuse --cap-add SYS_ADMIN)" >&2
  exit 1
}
