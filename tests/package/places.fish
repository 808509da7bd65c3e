
# Remotes of the configuration file for a SOURCE, and what is mounted for a MOUNTPOINT.
function __koofs_remotes
    set -l file ~/.config/koofs/config.toml
    set -q XDG_CONFIG_HOME; and set file $XDG_CONFIG_HOME/koofs/config.toml
    set -q KOOFS_CONFIG; and set file $KOOFS_CONFIG
    test -e "$file"; or set file /etc/koofs/config.toml
    sed -n 's/^[[:space:]]*\[remotes\.\([^]".]*\)\].*/\1:/p' $file 2>/dev/null
end
complete -c koofs -n "__fish_seen_subcommand_from mount ls spaces" -a "(__koofs_remotes)" -d remote
complete -c koofs -n "__fish_seen_subcommand_from unmount umount refresh status" -a "(findmnt -rn -t fuse.koofs -o TARGET 2>/dev/null)"
