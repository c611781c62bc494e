# What the bench `dma-map` measured, drawn; in the directory where its results are.
set terminal svg size 500,420 background "white"
set style data histogram
set style histogram errorbars gap 1
set style fill solid 0.8 border -1
set key outside below
set grid y
set yrange [0:*]

set output "dma-map-ratio.svg"
set title "vfiod\\_dma\\_map() + vfiod\\_dma\\_unmap(), as a multiple of\nthe bare ioctls; least and greatest round"
set datafile separator "\t"
plot "dma-map.dat" using 2:3:4:xtic(1) title "measured", 1 with lines title "bare"
