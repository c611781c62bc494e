/* A name for people out of hwdb's names for vendor and model. Pure. */
#include "daemon/inventory/internal.h"

#include "daemon/base/util.h"

#include <string.h>

/* Length of the UTF-8 character at `s`, 0 if there is none (RFC 3629, section 4). */
static size_t utf8_length(const unsigned char *s)
{
	size_t length = s[0] < 0x80   ? 1
			: s[0] < 0xc2 ? 0
			: s[0] < 0xe0 ? 2
			: s[0] < 0xf0 ? 3
			: s[0] < 0xf5 ? 4
				      : 0;
	for (size_t i = 1; i < length; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) ||
		(s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90))
		return 0;
	return length;
}

/* Control characters (C0, DEL, C1) would let a name write to a terminal what it likes. */
static void make_printable(char *text)
{
	unsigned char *s = (unsigned char *)text;
	while (*s) {
		size_t length = utf8_length(s);
		bool is_c1 = length == 2 && s[0] == 0xc2 && s[1] < 0xa0;
		if (length == 0 || *s < 0x20 || *s == 0x7f || is_c1)
			memset(s, '?', length = length ? length : 1);
		s += length;
	}
}

/* Words at the end of a vendor's name that say nothing about its devices. */
static bool is_legal_form(const char *word, size_t length)
{
	static const char *const forms[] = { "Corporation", "Corp.", "Corp", "Incorporated", "Inc.",
		"Inc", "Co.", "Co", "Ltd.", "Ltd", "Limited", "LLC", "GmbH", "AG", "and",
		"subsidiaries", "Company" };

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
		if (strlen(forms[i]) == length && memcmp(forms[i], word, length) == 0)
			return true;
	return false;
}

/*
 * The part of a vendor's name that people use: "Intel" of "Intel Corporation", "Broadcom" of
 * "Broadcom Inc. and subsidiaries", "AMD/ATI" of "Advanced Micro Devices, Inc. [AMD/ATI]".
 */
static const char *vendor_short(const char *vendor, size_t *size)
{
	size_t length = strlen(vendor);
	const char *bracket = strrchr(vendor, '[');
	if (bracket && length > 0 && vendor[length - 1] == ']' && bracket[1] != ']') {
		*size = (size_t)(vendor + length - bracket) - 2;
		return bracket + 1;
	}

	for (;;) {
		while (length > 0 && (vendor[length - 1] == ' ' || vendor[length - 1] == ','))
			length--;
		size_t start = length;
		while (start > 0 && vendor[start - 1] != ' ' && vendor[start - 1] != ',')
			start--;
		if (start == 0 || !is_legal_form(vendor + start, length - start))
			break;
		length = start;
	}
	*size = length;
	return vendor;
}

char *device_describe(const char *vendor, const char *model)
{
	size_t length;
	const char *maker = vendor_short(vendor ? vendor : "", &length);
	char *text = NULL;

	if (!model || *model == '\0')
		text = strndup(maker, length);
	else if (length == 0 || (strncmp(model, maker, length) == 0 && model[length] == ' '))
		text = strdup(model);
	else if (asprintf(&text, "%.*s %s", (int)length, maker, model) < 0)
		text = NULL;
	if (text)
		make_printable(text);
	return text;
}
