# What the bench `acquire` measured, drawn; in the directory where its results are.
set terminal svg size 500,420 background "white"
set style data histogram
set style histogram errorbars gap 1
set style fill solid 0.8 border -1
set key outside below
set grid y
set yrange [0:*]

set output "acquire-ratio.svg"
set title "Acquire + release of a ready group, as a multiple of\nthe bare descriptor loop; least and greatest round"
set datafile separator "\t"
plot "acquire.dat" using 2:3:4:xtic(1) title "measured", 3 with lines title "goal: at most 3"
