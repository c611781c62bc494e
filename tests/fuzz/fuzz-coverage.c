/*
 * Intervals that come and go → a coverage, and beside it a naive model: an array of counts. The
 * model has a cell for each single frame where levels meet, and one for each chunk or region
 * elsewhere, so that intervals of 2²⁷ frames are in it, too. The input is operations of a few bytes
 * each (do_one()).
 *
 * What is new, gone, missing and covered in all is the same, and at the end nothing is left. An
 * interval that was not added is refused, or is taken out frame by frame just as the model does it.
 */
#include "daemon/memory/coverage.h"
#include "daemon/memory/region.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define BLOCK (UINT64_C(1) << 27)
#define FRAMES (2 * BLOCK + REGION_FRAMES + 777)
enum { MAX_CELLS = 8192, MAX_LIVE = 2048, MAX_OPERATIONS = 300, MAX_TIMES = 17000 };

struct interval {
	unsigned first, end; /* cells */
};

static uint64_t begins[MAX_CELLS + 1]; /* the first frame of each cell; the end */
static unsigned n_cells;
/* Cells where pieces of some level begin, for intervals of whole ones. */
static unsigned marks[16];

static struct {
	struct coverage *coverage;
	uint32_t counts[MAX_CELLS];
	uint64_t covered;
	struct interval live[MAX_LIVE];
	unsigned n_live;
	unsigned times_left; /* adds of many at once are slow */
	bool is_wrong;       /* something was removed that had not been added */
} now;

/* --- cells ---------------------------------------------------------------------------------- */

static void make_cells(uint64_t end, uint64_t step)
{
	uint64_t frame = begins[n_cells];

	while (frame < end) {
		frame = (frame | (step - 1)) + 1;
		frame = frame < end ? frame : end;
		must(n_cells < MAX_CELLS, "too many cells");
		begins[++n_cells] = frame;
	}
}

fuzz_not_watched static unsigned cell_at(uint64_t frame)
{
	unsigned cell = 0;
	while (begins[cell] < frame)
		cell++;
	return cell;
}

static void begin_cells(void)
{
	static const uint64_t at[] = { 0, 1, 512, 1024, 1536, REGION_FRAMES - 512, REGION_FRAMES,
		REGION_FRAMES + 512, UINT64_C(2) * REGION_FRAMES, BLOCK - REGION_FRAMES, BLOCK,
		BLOCK + 512, BLOCK + REGION_FRAMES, 2 * BLOCK, 2 * BLOCK + REGION_FRAMES, FRAMES };

	make_cells(2048, 1);
	make_cells(REGION_FRAMES - 600, CHUNK_FRAMES);
	make_cells(REGION_FRAMES + 600, 1);
	make_cells(UINT64_C(2) * REGION_FRAMES, CHUNK_FRAMES);
	make_cells(BLOCK - 600, REGION_FRAMES);
	make_cells(BLOCK + 600, 1);
	make_cells(2 * BLOCK, REGION_FRAMES);
	make_cells(2 * BLOCK + REGION_FRAMES, CHUNK_FRAMES);
	make_cells(FRAMES, 1);
	for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++)
		marks[i] = cell_at(at[i]);
}

fuzz_not_watched static uint64_t width(unsigned cell)
{
	return begins[cell + 1] - begins[cell];
}

/* --- what is done to both -------------------------------------------------------------------- */

fuzz_not_watched static uint64_t model_missing(struct interval interval)
{
	uint64_t missing = 0;
	for (unsigned i = interval.first; i < interval.end; i++)
		missing += now.counts[i] == 0 ? width(i) : 0;
	return missing;
}

static uint64_t first_of(struct interval interval)
{
	return begins[interval.first];
}

static uint64_t length_of(struct interval interval)
{
	return begins[interval.end] - begins[interval.first];
}

static void query(struct interval interval)
{
	uint64_t missing = coverage_missing(now.coverage, first_of(interval), length_of(interval));
	uint64_t expected = model_missing(interval);

	must(missing == expected, "missing %lu, not %lu", missing, expected);
}

fuzz_not_watched static void model_add(struct interval interval)
{
	for (unsigned i = interval.first; i < interval.end; i++)
		now.counts[i]++;
}

/* How many frames have gone. */
fuzz_not_watched static uint64_t model_remove(struct interval interval)
{
	uint64_t gone = 0;
	for (unsigned i = interval.first; i < interval.end; i++) {
		must(now.counts[i] > 0, "cell %u has nothing to give", i);
		gone += --now.counts[i] == 0 ? width(i) : 0;
	}
	return gone;
}

static void add(struct interval interval)
{
	uint64_t expected = model_missing(interval), n_new = UINT64_MAX;

	if (now.n_live == MAX_LIVE)
		return;
	int r = coverage_add(now.coverage, first_of(interval), length_of(interval), &n_new);
	must(r == 0 && n_new == expected, "%d: new %lu, not %lu", r, n_new, expected);
	must(coverage_has(now.coverage, first_of(interval), length_of(interval)), "it has it not");
	model_add(interval);
	now.covered += expected;
	now.live[now.n_live++] = interval;
}

static void take_out(struct interval interval)
{
	uint64_t expected = model_remove(interval);
	uint64_t gone = coverage_remove(now.coverage, first_of(interval), length_of(interval));

	must(gone == expected, "gone %lu, not %lu", gone, expected);
	now.covered -= expected;
}

static void remove_live(unsigned at)
{
	struct interval interval = now.live[at];
	bool has = coverage_has(now.coverage, first_of(interval), length_of(interval));

	now.live[at] = now.live[--now.n_live];
	must(has || now.is_wrong, "it was added, and is not known");
	if (has)
		take_out(interval);
}

static void remove_wrong(struct interval interval)
{
	if (!coverage_has(now.coverage, first_of(interval), length_of(interval)))
		return;
	now.is_wrong = true;
	take_out(interval);
}

/* One frame of every so many, or the same again and again: other forms of lists and counts. */
static void add_many(struct interval interval, unsigned step, unsigned times)
{
	for (unsigned i = 0; i < times && now.times_left > 0; i++, now.times_left--) {
		add(interval);
		interval.first += step;
		interval.end += step;
		if (interval.end > n_cells)
			return;
	}
}

/* In and out, beside what is live, so that counts reach their ends. */
static void pile_up(struct interval interval, unsigned times)
{
	uint64_t n_new;

	if (interval.end - interval.first > 64 || times > now.times_left || now.n_live == MAX_LIVE)
		return;
	now.times_left -= times;
	add(interval);
	for (unsigned i = 0; i < times; i++)
		must(coverage_add(now.coverage, first_of(interval), length_of(interval), &n_new) ==
					0 &&
				n_new == 0,
			"new %lu", n_new);
	for (unsigned i = 0; i < times; i++)
		must(coverage_remove(now.coverage, first_of(interval), length_of(interval)) == 0,
			"it went too early");
}

static void out_of_range(uint64_t beyond)
{
	uint64_t n_new;

	must(coverage_add(now.coverage, FRAMES - 1, 2 + beyond, &n_new) == -ERANGE, "%lu", beyond);
	must(coverage_add(now.coverage, UINT64_MAX - beyond, 2, &n_new) == -ERANGE, "%lu", beyond);
	must(!coverage_has(now.coverage, UINT64_MAX - beyond, 2), "%lu", beyond);
}

/* --- the input ------------------------------------------------------------------------------ */

struct input {
	const uint8_t *data;
	size_t size;
};

static unsigned take_byte(struct input *input)
{
	if (input->size == 0)
		return 0;
	input->size--;
	return *input->data++;
}

static unsigned take_word(struct input *input)
{
	unsigned high = take_byte(input);
	return high << 8 | take_byte(input);
}

static struct interval take_interval(struct input *input)
{
	unsigned first = take_word(input), length = take_byte(input);
	struct interval interval = { .first = first % n_cells };

	/* Between two marks; a few cells; many. */
	if (length == 255) {
		interval = (struct interval){ marks[first & 15], marks[first >> 4 & 15] };
	} else {
		length = length < 128 ? length : (length - 127) * 25;
		interval.end = interval.first + 1 + length;
	}
	if (interval.end > n_cells)
		interval.end = n_cells;
	if (interval.first >= interval.end)
		interval = (struct interval){ interval.end, interval.first + 1 };
	if (interval.end > n_cells)
		interval = (struct interval){ n_cells - 1, n_cells };
	return interval;
}

static void do_one(struct input *input)
{
	static const unsigned times[] = { 2, 3, 7, 8, 100, 255, 256, 16384 };
	unsigned what = take_byte(input);
	struct interval interval;

	switch (what % 8) {
	case 0:
	case 1:
		add(take_interval(input));
		break;
	case 2:
		if (now.n_live > 0)
			remove_live(take_word(input) % now.n_live);
		break;
	case 3:
		remove_wrong(take_interval(input));
		break;
	case 4:
		interval = take_interval(input);
		add_many(interval, what >> 3, 4 * take_byte(input));
		break;
	case 5:
		pile_up(take_interval(input), times[what >> 3 & 7]);
		break;
	case 6:
		for (unsigned n = 4 * take_byte(input); n > 0 && now.n_live > 0; n--)
			remove_live(what & 8 ? 0 : now.n_live - 1);
		break;
	default:
		query(take_interval(input));
		out_of_range(what >> 3);
	}
	must(coverage_total(now.coverage) == now.covered, "total %lu, not %lu",
		coverage_total(now.coverage), now.covered);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };

	if (n_cells == 0)
		begin_cells();
	memset(&now, 0, sizeof(now));
	now.coverage = coverage_new(FRAMES);
	now.times_left = MAX_TIMES;
	for (int i = 0; i < MAX_OPERATIONS && input.size > 0; i++)
		do_one(&input);
	query((struct interval){ 0, n_cells });
	while (now.n_live > 0)
		remove_live(now.n_live - 1);
	must(coverage_total(now.coverage) == now.covered, "total %lu, not %lu",
		coverage_total(now.coverage), now.covered);
	must(now.is_wrong || now.covered == 0, "%lu are left", now.covered);
	coverage_free(now.coverage);
	return 0;
}
