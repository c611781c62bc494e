/*
 * Three that could do the coverage's work: ours, Boost.ICL's interval_map, and a hash with an entry
 * for each frame. add() and remove() say how many frames are new, and gone.
 */
#pragma once

#include <boost/icl/interval_map.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <unordered_map>

extern "C" {
#include "daemon/memory/coverage.h"
}

constexpr uint64_t host_frames = UINT64_C(1) << 28; /* 1 TiB */

struct run {
	uint64_t first, n;
};

class our_book
{
	struct coverage *coverage = coverage_new(host_frames);

      public:
	our_book() = default;
	our_book(const our_book &) = delete;
	~our_book()
	{
		coverage_free(coverage);
	}
	uint64_t add(const run &run)
	{
		uint64_t n_new;
		if (coverage_add(coverage, run.first, run.n, &n_new) < 0)
			abort();
		return n_new;
	}
	uint64_t remove(const run &run)
	{
		return coverage_remove(coverage, run.first, run.n);
	}
};

class icl_book
{
	using interval = boost::icl::interval<uint64_t>;
	boost::icl::interval_map<uint64_t, uint32_t> map;

	static auto segment(const run &run)
	{
		return std::make_pair(
			interval::right_open(run.first, run.first + run.n), UINT32_C(1));
	}
	uint64_t covered(const run &run) const
	{
		uint64_t n = 0, end = run.first + run.n;
		auto range = map.equal_range(interval::right_open(run.first, end));
		for (auto it = range.first; it != range.second; ++it)
			n += std::min(boost::icl::last(it->first) + 1, end) -
			     std::max(boost::icl::first(it->first), run.first);
		return n;
	}

      public:
	uint64_t add(const run &run)
	{
		uint64_t n_new = run.n - covered(run);
		map += segment(run);
		return n_new;
	}
	uint64_t remove(const run &run)
	{
		map -= segment(run);
		return run.n - covered(run);
	}
};

class hash_book
{
	std::unordered_map<uint64_t, uint32_t> map;

      public:
	uint64_t add(const run &run)
	{
		uint64_t n_new = 0;
		for (uint64_t i = 0; i < run.n; i++)
			n_new += map[run.first + i]++ == 0;
		return n_new;
	}
	uint64_t remove(const run &run)
	{
		uint64_t gone = 0;
		for (uint64_t i = 0; i < run.n; i++) {
			auto found = map.find(run.first + i);
			if (--found->second == 0) {
				map.erase(found);
				gone++;
			}
		}
		return gone;
	}
};
