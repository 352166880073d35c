# Completion of ocidistfs for fish.

function __ocidistfs_complete
	set -l words (commandline -opc)
	set -l word (commandline -ct)
	set -l answer ($words[1] complete -- $words[2..-1] "$word" 2>/dev/null)
	switch "$answer[1]"
		case :files
			__fish_complete_path (string replace -r '^--[^=]*=' '' -- "$word")
		case :directories
			__fish_complete_directories (string replace -r '^--[^=]*=' '' -- "$word")
		case '*'
			printf '%s\n' $answer
	end
end

complete -c ocidistfs -f -a '(__ocidistfs_complete)'
