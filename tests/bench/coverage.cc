/*
 * The coverage of the ledger against Boost.ICL's interval_map and a hash of frames, for a host of
 * 1 TiB: rates in processor time, and bytes of memory. Lines "plot NAME …" are for coverage.gp.
 */
#include "tests/bench/books.hh"

#include <malloc.h>

#include <cinttypes>
#include <cstdio>
#include <ctime>
#include <functional>
#include <random>
#include <string>
#include <vector>

extern "C" {
#include "tests/bench/sample.h"
}

namespace
{
/* Of this process only: others on the machine are no part of it. */
double seconds(const std::function<void()> &function)
{
	auto now = [] {
		struct timespec time;
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
		return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
	};
	double begin = now();
	function();
	return now() - begin;
}

std::vector<run> scattered(size_t n, uint64_t longest, unsigned seed)
{
	std::mt19937_64 random(seed);
	std::vector<run> runs(n);
	for (auto &run : runs) {
		run.n = 1 + random() % longest;
		run.first = random() % (host_frames - run.n);
	}
	return runs;
}

/* --- cases: operations a second, and what they added up, which is the same for each book ---------
 */

struct result {
	double rate;
	uint64_t sum;
};

template <typename Book> result four_containers()
{
	auto runs = scattered(200000, 16, 1);
	Book book;
	uint64_t sum = 0;
	double time = seconds([&] {
		for (int container = 0; container < 4; container++)
			for (const auto &run : runs)
				sum += book.add(run);
	});
	return { 4.0 * (double)runs.size() / time, sum };
}

/* As many runs as there are stay: one goes, another comes. */
template <typename Book> result steady_state(size_t n_live, uint64_t longest, size_t n)
{
	auto runs = scattered(n_live, longest, 2), more = scattered(n, longest, 3);
	Book book;
	uint64_t sum = 0;
	for (const auto &run : runs)
		sum += book.add(run);
	double time = seconds([&] {
		for (size_t i = 0; i < n; i++) {
			auto &run = runs[i % n_live];
			sum += book.remove(run);
			run = more[i];
			sum += book.add(run);
		}
	});
	return { 2.0 * (double)n / time, sum };
}
template <typename Book> result scattered_runs()
{
	return steady_state<Book>(20000, 512, 60000);
}
template <typename Book, size_t n_live> result growing()
{
	return steady_state<Book>(n_live, 16, 50000);
}

/* One interval over all, and away again. */
template <typename Book, size_t n> result large_over_small()
{
	Book book;
	for (const auto &run : scattered(20000, 16, 4))
		book.add(run);
	uint64_t sum = 0;
	double time = seconds([&] {
		for (size_t i = 0; i < n; i++) {
			sum += book.add({ 0, host_frames });
			sum += book.remove({ 0, host_frames });
		}
	});
	return { 2.0 * n / time, sum / n };
}

template <uint64_t length> result alone()
{
	constexpr size_t n = 1000000;
	our_book book;
	uint64_t sum = 0;
	double time = seconds([&] {
		for (size_t i = 0; i < n; i++) {
			sum += book.add({ 0, length });
			sum += book.remove({ 0, length });
		}
	});
	return { 2.0 * n / time, sum / (2 * n * length) };
}

/* --- contests ------------------------------------------------------------------------------------
 */

struct contest {
	const char *name, *head;
	double goal; /* the last one's rate is at least so many times that of the first; 0: none */
	std::vector<std::pair<const char *, result (*)()>> contestants; /* the peer first */
};

constexpr size_t most_contestants = 3;

/* In rounds, by turns; the medians of the rounds. */
std::vector<double> compete(const contest &contest)
{
	static sample_case cases[most_contestants];
	size_t n = contest.contestants.size();
	std::vector<std::string> names;
	std::vector<double> medians;

	for (const auto &contestant : contest.contestants)
		names.push_back(std::string(contest.name) + ": " + contestant.first);
	for (size_t i = 0; i < n; i++) {
		cases[i] = sample_case{};
		cases[i].name = names[i].c_str();
	}
	for (int round = 0; round < SAMPLE_ROUNDS; round++) {
		uint64_t sum = 0;
		for (size_t i = 0; i < n; i++) {
			result result = contest.contestants[i].second();
			if (i > 0 && result.sum != sum) {
				std::fprintf(stderr, "%s: %" PRIu64 " frames, not %" PRIu64 "\n",
					cases[i].name, result.sum, sum);
				exit(1);
			}
			sum = result.sum;
			sample_add(&cases[i], result.rate);
			sample_end_round(&cases[i], "coverage");
		}
	}
	std::printf("%-38s%10s%10s%10s%11s\n", contest.head, "min", "median", "max", "ratio");
	for (size_t i = 0; i < n; i++) {
		sample_finish(&cases[i]);
		medians.push_back(cases[i].median);
		std::printf("%-38s%10.4g%10.4g%10.4g%11.2f\n", contest.contestants[i].first,
			cases[i].min / 1e6, cases[i].median / 1e6, cases[i].max / 1e6,
			cases[i].median / cases[0].median);
	}
	return medians;
}

const char *verdict(bool is_reached)
{
	return is_reached ? "reached" : "missed";
}

void hold(const contest &contest)
{
	auto medians = compete(contest);
	double ratio = medians.back() / medians.front();

	std::printf("ratio %.2f, goal %.2f: %s\n\n", ratio, contest.goal,
		verdict(ratio >= contest.goal));
	std::printf(
		"plot\tcoverage-ratio\t\"%s\"\t%.3f\t%.3f\n", contest.name, ratio, contest.goal);
}

template <size_t n_live> void grow()
{
	std::string name = std::to_string(n_live) + " live";
	auto medians = compete({ name.c_str(), (name + ", add + remove, M/s").c_str(), 0,
		{ { "Boost.ICL interval_map", growing<icl_book, n_live> },
			{ "hash of frames", growing<hash_book, n_live> },
			{ "vfiod", growing<our_book, n_live> } } });
	std::printf("\nplot\tcoverage-growth\t%s\t%.0f\t%.0f\t%.0f\n",
		std::to_string(n_live).c_str(), medians[0], medians[1], medians[2]);
}

/* --- memory --------------------------------------------------------------------------------------
 */

size_t heap()
{
	struct mallinfo2 info = mallinfo2();
	return info.uordblks + info.hblkhd;
}

/* All that malloc has given and keeps for it, for each frame that is pinned. */
template <typename Book> double bytes_a_frame(uint64_t step)
{
	/* A part of the host is enough where many are pinned. */
	uint64_t frames = step < 64 ? UINT64_C(1) << 22 : host_frames, n = 0;
	size_t before = heap();
	Book book;
	for (uint64_t first = 0; first < frames; first += step, n++)
		book.add({ first, 1 });
	return (double)(heap() - before) / (double)n;
}

void weigh()
{
	constexpr double goal = 8;
	double worst = 0;

	std::printf("%-38s%10s%10s%10s\n", "bytes a pinned frame, malloc's as well", "ICL", "hash",
		"vfiod");
	for (uint64_t step : { 1, 2, 64, 4096 }) {
		double icl = bytes_a_frame<icl_book>(step), hash = bytes_a_frame<hash_book>(step);
		double ours = bytes_a_frame<our_book>(step);
		worst = std::max(worst, ours);
		std::printf("every %-32" PRIu64 "%10.2f%10.2f%10.2f\n", step, icl, hash, ours);
		std::printf("plot\tcoverage-memory\t\"every %" PRIu64 "\"\t%.3f\t%.3f\t%.3f\n",
			step, icl, hash, ours);
	}
	std::printf("worst %.2f, goal at most %.2f: %s\n", worst, goal, verdict(worst <= goal));
}
} // namespace

int main()
{
	hold({ "four containers", "the same ranges, 4 containers, M adds/s", 5,
		{ { "Boost.ICL interval_map", four_containers<icl_book> },
			{ "hash of frames", four_containers<hash_book> },
			{ "vfiod", four_containers<our_book> } } });
	hold({ "scattered runs", "runs of 1 to 512, add + remove, M/s", 1.5,
		{ { "Boost.ICL interval_map", scattered_runs<icl_book> },
			{ "hash of frames", scattered_runs<hash_book> },
			{ "vfiod", scattered_runs<our_book> } } });
	hold({ "one over many", "2^28 frames over 20,000 runs, M/s", 1000,
		{ { "Boost.ICL interval_map", large_over_small<icl_book, 6> },
			{ "vfiod", large_over_small<our_book, 100000> } } });
	hold({ "long or short", "vfiod, add + remove, M/s", 1.0 / 3,
		{ { "one frame", alone<1> }, { "2^28 frames", alone<host_frames> } } });
	grow<1000>();
	grow<10000>();
	grow<100000>();
	grow<1000000>();
	weigh();
	return 0;
}
