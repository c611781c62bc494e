# Turns .varlink files into entries of varlink_files[] (proto/interfaces.c).
FNR == 1 {
	if (NR > 1) print "\t},"
	name = FILENAME; sub(/.*\//, "", name); sub(/\.varlink$/, "", name)
	printf "\t{\n\t\t\"%s\",\n", name
}
# "&&": in a replacement of gsub, "\\\\" would be one backslash.
{ gsub(/\\/, "&&"); gsub(/"/, "\\\""); printf "\t\t\"%s\\n\"\n", $0 }
END { print "\t}," }
