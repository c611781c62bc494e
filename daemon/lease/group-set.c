#include "daemon/lease/group-set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_BITS = 64 };

void group_set_clear(struct group_set *set)
{
	free(set->words);
	*set = (struct group_set){ 0 };
}

static int grow(struct group_set *set, size_t n_words)
{
	if (n_words <= set->n_words)
		return 0;
	uint64_t *words = reallocarray(set->words, n_words, sizeof(*words));
	if (!words)
		return -ENOMEM;
	memset(words + set->n_words, 0, (n_words - set->n_words) * sizeof(*words));
	set->words = words;
	set->n_words = n_words;
	return 0;
}

static uint64_t bit(int number)
{
	return UINT64_C(1) << ((unsigned)number % WORD_BITS);
}

int group_set_add(struct group_set *set, int number)
{
	if (number < 0 || number >= GROUP_SET_MAX)
		return -ERANGE;
	int r = grow(set, (size_t)number / WORD_BITS + 1);
	if (r == 0)
		set->words[number / WORD_BITS] |= bit(number);
	return r;
}

static bool is_within(const struct group_set *set, int number)
{
	return number >= 0 && (size_t)number / WORD_BITS < set->n_words;
}

void group_set_remove(struct group_set *set, int number)
{
	if (is_within(set, number))
		set->words[number / WORD_BITS] &= ~bit(number);
}

bool group_set_has(const struct group_set *set, int number)
{
	return is_within(set, number) && set->words[number / WORD_BITS] & bit(number);
}

size_t group_set_count(const struct group_set *set)
{
	size_t n = 0;

	for (size_t i = 0; i < set->n_words; i++)
		n += (size_t)__builtin_popcountll(set->words[i]);
	return n;
}

bool group_set_is_empty(const struct group_set *set)
{
	return group_set_next(set, NULL, 0) < 0;
}

bool group_set_meets(const struct group_set *a, const struct group_set *b)
{
	for (size_t i = 0; i < a->n_words && i < b->n_words; i++)
		if (a->words[i] & b->words[i])
			return true;
	return false;
}

int group_set_join(struct group_set *set, const struct group_set *with)
{
	int r = grow(set, with->n_words);
	for (size_t i = 0; r == 0 && i < with->n_words; i++)
		set->words[i] |= with->words[i];
	return r;
}

int group_set_next(const struct group_set *set, const struct group_set *other, int from)
{
	for (size_t i = (size_t)from / WORD_BITS; i < set->n_words; i++) {
		uint64_t word = set->words[i];
		if (other)
			word &= i < other->n_words ? other->words[i] : 0;
		if (i == (size_t)from / WORD_BITS)
			word &= ~UINT64_C(0) << ((unsigned)from % WORD_BITS);
		if (word)
			return (int)i * WORD_BITS + __builtin_ctzll(word);
	}
	return -1;
}
