
# Remotes of the configuration file for a SOURCE, and what is mounted for a MOUNTPOINT.
_koofs_remotes() {
    local file=${KOOFS_CONFIG:-${XDG_CONFIG_HOME:-$HOME/.config}/koofs/config.toml}
    [ -e "$file" ] || file=/etc/koofs/config.toml
    sed -n 's/^[[:space:]]*\[remotes\.\([^]".]*\)\].*/\1:/p' "$file" 2>/dev/null
}

_koofs_mountpoints() {
    findmnt -rn -t fuse.koofs -o TARGET 2>/dev/null
}

_koofs_places() {
    _koofs "$@"
    local words='' current=${COMP_WORDS[COMP_CWORD]} found
    case "$current" in -*) return ;; esac
    case "${COMP_WORDS[1]}" in
        mount | ls | spaces) case "${COMP_WORDS[*]}" in *:*) return ;; esac; words=$(_koofs_remotes) ;;
        unmount | umount | refresh | status) words=$(_koofs_mountpoints) ;;
    esac
    mapfile -t found < <(compgen -W "$words" -- "$current")
    [ "${#found[@]}" -eq 0 ] || COMPREPLY=("${found[@]}")
}

complete -F _koofs_places -o nosort -o bashdefault -o default koofs
