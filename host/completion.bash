# Completion of ipq-lua's command line, for bash. It needs nothing but bash, and ends where the script's
# own arguments begin.

_ipq_lua_options="--check --copy-range --count --ctl --default --doctor --fail-open --filter --fix-checksums --flow-memory --help
	--json --log-level --mark-bits --max-restarts --memory-limit --metrics --name --new --no-gso --no-sandbox --no-send --on-error
	--on-give-up --other --per-cpu --pin --print --print-rules --queue-bypass --queue-maxlen --queue-num --rcvbuf --read
	--reject-rate --remove-rules --rule --shared-memory --spin --stats --stream-memory --test --time-limit --top --user --version --watch --writable --write
	--write-dropped"

# _ipq_lua_takes_value OPTION: whether the next word is its value.
_ipq_lua_takes_value() {
	case $1 in
	-q | -r | -w | -F | -c | --copy-range | --count | --default | --filter | --flow-memory | --log-level | --mark-bits | --max-restarts | \
		--memory-limit | --metrics | --name | --new | --on-error | --on-give-up | --other | --print-rules | \
		--queue-maxlen | --queue-num | --rcvbuf | --read | --reject-rate | --rule | --shared-memory | --spin | --stream-memory | --test | \
		--time-limit | --user | --writable | --write | --write-dropped) return 0 ;;
	esac
	return 1
}

# _ipq_lua_files WORD PATTERN...: files that match, and folders to look further in.
_ipq_lua_files() {
	local word=$1 pattern path
	shift
	while IFS= read -r path; do
		COMPREPLY+=("$path/")
	done < <(compgen -d -- "$word")
	for pattern in "$@"; do
		while IFS= read -r path; do
			[[ -d $path ]] || COMPREPLY+=("$path")
		done < <(compgen -f -X "!$pattern" -- "$word")
	done
	compopt -o filenames -o nospace 2> /dev/null
	# One file is all of the word.
	[[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} != */ ]] && compopt +o nospace 2> /dev/null
	return 0
}

_ipq_lua_words() {
	local word=$1
	shift
	mapfile -t COMPREPLY < <(compgen -W "$*" -- "$word")
}

# _ipq_lua_value OPTION WORD: the option's values.
_ipq_lua_value() {
	case $1 in
	--default | --on-error) _ipq_lua_words "$2" accept drop reject ;;
	--other) _ipq_lua_words "$2" accept drop ;;
	--log-level) _ipq_lua_words "$2" debug info warn error ;;
	--metrics) _ipq_lua_files "$2" '*.prom' ;;
	--on-give-up) _ipq_lua_words "$2" verdict exit ;;
	--print-rules) _ipq_lua_words "$2" iptables nft ;;
	-r | --read) _ipq_lua_files "$2" '*.pcap' '*.pcapng' '*.cap' '*.gz' ;;
	-w | --write | --write-dropped) _ipq_lua_files "$2" '*.pcap' '*.pcapng' '*.cap' ;;
	--user) mapfile -t COMPREPLY < <(compgen -u -- "$2") ;;
	--test) _ipq_lua_files "$2" '*_spec.lua' ;;
	esac
}

_ipq_lua() {
	local word=${COMP_WORDS[COMP_CWORD]} option="" i
	COMPREPLY=()

	# Bash makes a word of "=": --default=drop is three.
	for ((i = 1; i < COMP_CWORD; i++)); do
		if [[ $option == --test ]]; then
			return
		elif [[ $option ]]; then
			[[ ${COMP_WORDS[i]} == = ]] || option=
		elif _ipq_lua_takes_value "${COMP_WORDS[i]}"; then
			option=${COMP_WORDS[i]}
		elif [[ ${COMP_WORDS[i]} != -* ]]; then
			_ipq_lua_files "$word" '*'
			return
		fi
	done
	if [[ $option ]]; then
		[[ $word == = ]] && word=
		_ipq_lua_value "$option" "$word"
	elif [[ $word == -* ]]; then
		_ipq_lua_words "$word" "$_ipq_lua_options"
	else
		_ipq_lua_files "$word" '*.lua'
	fi
}

complete -F _ipq_lua ipq-lua
