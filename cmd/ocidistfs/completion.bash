# Completion of ocidistfs for bash.

_ocidistfs() {
	local line=$COMP_LINE words=() n=-1 i word answer candidate before= sign
	# Bash breaks words at colons too, which references have: what no blank is
	# between is one word.
	for ((i = 0; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if ((i == 0)) || [[ $line == [[:blank:]]* ]]; then
			words[++n]=$word
		else
			words[n]+=$word
		fi
		line=${line#"${line%%[![:blank:]]*}"}
		line=${line#"$word"}
	done
	word=${words[n]}
	COMPREPLY=()
	answer=$("${COMP_WORDS[0]}" complete -- "${words[@]:1}" 2>/dev/null) || return
	case $answer in
	'') return ;;
	:files) compopt -o default; return ;;
	:directories) compopt -o dirnames; return ;;
	esac
	# It replaces what is after the last break, with the break where that is an "@".
	for sign in : = @; do
		if [[ $COMP_WORDBREAKS == *"$sign"* && $word == *"$sign"* ]]; then
			i=${word%"$sign"*}${sign#@}
			((${#i} > ${#before})) && before=$i
		fi
	done
	while IFS= read -r candidate; do
		candidate=${candidate%%$'\t'*}
		COMPREPLY+=("${candidate#"$before"}")
		[[ $candidate == *[/:@=] ]] && compopt -o nospace
	done <<<"$answer"
}

complete -F _ocidistfs ocidistfs
