
# Remotes of the configuration file for a SOURCE, and what is mounted for a MOUNTPOINT.
_koofs_sources() {
    local file=${KOOFS_CONFIG:-${XDG_CONFIG_HOME:-$HOME/.config}/koofs/config.toml}
    [ -e "$file" ] || file=/etc/koofs/config.toml
    local -a remotes
    remotes=(${(f)"$(sed -n 's/^[[:space:]]*\[remotes\.\([^]".]*\)\].*/\1:/p' "$file" 2>/dev/null)"})
    compadd -S '' -- $remotes
}

_koofs_mountpoints() {
    local -a mountpoints
    mountpoints=(${(f)"$(findmnt -rn -t fuse.koofs -o TARGET 2>/dev/null)"})
    compadd -- $mountpoints
    _files
}
