#compdef ocidistfs
# Completion of ocidistfs for zsh.

_ocidistfs() {
	local answer line word
	local -a plain open
	answer=$("${(Q)words[1]}" complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null) || return
	case $answer in
	'') return 1 ;;
	:files) compset -P '--*='; _files; return ;;
	:directories) compset -P '--*='; _files -/; return ;;
	esac
	for line in "${(@f)answer}"; do
		word=${line%%$'\t'*}
		line=${word//:/\\:}${${line#$word}/$'\t'/:}
		# More follows on some, and no blank comes between.
		if [[ $word == *[/:@=] ]]; then
			open+=("$line")
		else
			plain+=("$line")
		fi
	done
	(($#plain)) && _describe -V ocidistfs plain
	(($#open)) && _describe -V ocidistfs open -S ''
}

if [[ $funcstack[1] == _ocidistfs ]]; then
	_ocidistfs "$@"
else
	compdef _ocidistfs ocidistfs
fi
