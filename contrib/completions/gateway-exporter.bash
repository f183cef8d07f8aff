# Completions of gateway-exporter for bash, made from the table of flags by `BLESS=1 cargo test --test it completions`.
_gateway_exporter() {
    local word="${COMP_WORDS[COMP_CWORD]}" flag="${COMP_WORDS[COMP_CWORD - 1]}" words='--config.file --config.uci --web.listen-address --web.systemd-socket --web.config.file --web.telemetry-path --web.disable-exporter-metrics --collector.strongswan --no-collector.strongswan --collector.ipsec --no-collector.ipsec --collector.openvpn --no-collector.openvpn --collector.sockets --no-collector.sockets --collector.kernel --no-collector.kernel --collector.wireguard --no-collector.wireguard --config-path --enable.sudo --status --json --watch --quiet --doctor --once --output --check-config --dry-run --list-needs --list-metrics --format --log.level --log.format --debug --hash-password --version --help --help-all'
    # For bash, = between a flag and its value is a word of its own.
    if [[ $word == = ]]; then
        word=''
    elif [[ $flag == = ]]; then
        flag="${COMP_WORDS[COMP_CWORD - 2]}"
    fi
    COMPREPLY=()
    case $flag in
        --config.file | -c) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
        --config.uci) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
        --web.listen-address) :; return ;;
        --web.config.file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
        --web.telemetry-path) :; return ;;
        --config-path) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
        --output) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
        --format) mapfile -t COMPREPLY < <(compgen -W 'markdown table json' -- "$word"); return ;;
        --log.level) mapfile -t COMPREPLY < <(compgen -W 'debug info warn error' -- "$word"); return ;;
        --log.format) mapfile -t COMPREPLY < <(compgen -W 'logfmt json' -- "$word"); return ;;
    esac
    [[ $COMP_CWORD -gt 1 ]] || words+=' status doctor once check-config metrics'
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _gateway_exporter gateway-exporter
