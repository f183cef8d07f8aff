# Stands in for OpenWrt's /lib/functions.sh: reads UCI files, which are written as the words of a shell, and does what a
# package's scripts ask for. As the real ones do, it leaves a variable alone where a name has letters that UCI forbids.

config_load() {
    UCI_SECTIONS='' UCI_SECTION=''
    . "/etc/config/$1"
}

config() {
    UCI_COUNT=$((UCI_COUNT + 1))
    UCI_SECTION="${2:-cfg$UCI_COUNT}"
    UCI_SECTIONS="$UCI_SECTIONS $UCI_SECTION"
    eval "UCI_TYPE_$UCI_SECTION=\$1"
}

option() {
    eval "UCI_${UCI_SECTION}_$1=\$2"
}

list() {
    eval "UCI_LENGTH=\$((UCI_${UCI_SECTION}_$1_length + 1))"
    eval "UCI_${UCI_SECTION}_$1_length=$UCI_LENGTH UCI_${UCI_SECTION}_$1_$UCI_LENGTH=\$2"
    eval "UCI_${UCI_SECTION}_$1=\"\${UCI_${UCI_SECTION}_$1:+\$UCI_${UCI_SECTION}_$1 }\$2\""
}

# config_get VARIABLE SECTION OPTION [DEFAULT]
config_get() {
    case "$2$3" in
        *[!A-Za-z0-9_]*) ;;
        *) eval "$1=\"\${UCI_${2}_$3:-\$4}\"" ;;
    esac
}

get_bool() {
    case "$1" in
        1 | on | true | yes | enabled) echo 1 ;;
        0 | off | false | no | disabled) echo 0 ;;
        *) echo "$2" ;;
    esac
}

config_get_bool() {
    config_get "$@"
    eval "$1=\$(get_bool \"\$$1\" \"\$4\")"
}

config_foreach() {
    local section type
    for section in $UCI_SECTIONS; do
        eval "type=\$UCI_TYPE_$section"
        [ "$type" != "$2" ] || "$1" "$section"
    done
}

config_list_foreach() {
    local count=1 length value
    eval "length=\${UCI_${1}_${2}_length:-0}"
    while [ "$count" -le "$length" ]; do
        eval "value=\$UCI_${1}_${2}_$count"
        "$3" "$value"
        count=$((count + 1))
    done
}

default_postinst() {
    local name=gateway-exporter user
    user="$(sed -n 's/^Require-User: *//p' "$IPKG_INSTROOT/usr/lib/opkg/info/$name.control")"
    [ -z "$user" ] || grep -q "^${user%%:*}:" "$IPKG_INSTROOT/etc/passwd" || {
        echo "${user##*:}:x:32768:" >>"$IPKG_INSTROOT/etc/group"
        echo "${user%%:*}:x:32768:32768::/var/run:/bin/false" >>"$IPKG_INSTROOT/etc/passwd"
    }
    /bin/sh /etc/rc.common "/etc/init.d/$name" enable
}

default_prerm() {
    /bin/sh /etc/rc.common /etc/init.d/gateway-exporter disable
}
