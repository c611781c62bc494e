# What the bench `coverage` measured, drawn; in the directory where its results are.
set terminal svg size 800,420 background "white"
set style data histogram
set style histogram clustered gap 1
set style fill solid 0.8 border -1
set xtics font ",10"
set key outside right top vertical
set grid y

set output "coverage-ratio.svg"
set title "Rate as a multiple of Boost.ICL's (the last: of one frame's), host of 1 TiB"
set logscale y
set yrange [0.1:*]
plot "coverage-ratio.dat" using 2:xtic(1) title "measured", "" using 3 title "goal"

set output "coverage-memory.svg"
set title "Bytes a pinned frame, malloc's as well"
unset logscale y
set yrange [0:*]
plot "coverage-memory.dat" using 2:xtic(1) title "Boost.ICL", "" using 3 title "hash", \
	"" using 4 title "vfiod", 8 with lines title "goal: at most 8"

set output "coverage-growth.svg"
set title "Add and remove of runs of 1 to 16 frames, by how many are live"
set xlabel "live runs"
set ylabel "operations a second"
set logscale xy
set yrange [*:*]
set style data linespoints
plot "coverage-growth.dat" using 1:2 title "Boost.ICL", "" using 1:3 title "hash", \
	"" using 1:4 title "vfiod"
