#include "daemon/inventory/internal.h"

#include <ctype.h>

/* Reads one to `digits` hexadecimal digits; returns what follows, or NULL. */
static const char *hex_read(const char *text, unsigned digits, unsigned *value)
{
	unsigned n = 0;

	*value = 0;
	for (; n < digits && isxdigit((unsigned char)text[n]); n++) {
		unsigned char digit = (unsigned char)text[n];
		*value = *value << 4 |
			 (unsigned)(isdigit(digit) ? digit - '0' : tolower(digit) - 'a' + 10);
	}
	return n > 0 && !isxdigit((unsigned char)text[n]) ? text + n : NULL;
}

/*
 * The domain has four digits as a rule, but is a 32-bit number: VMD's begin at 10000
 * (drivers/pci/controller/vmd.c). A function is one octal digit.
 */
bool pci_address_parse(const char *text, struct pci_address *address)
{
	unsigned first, second, third;

	text = hex_read(text, 8, &first);
	if (!text || *text != ':')
		return false;
	text = hex_read(text + 1, 2, &second);
	if (!text)
		return false;
	if (*text == ':') {
		text = hex_read(text + 1, 2, &third);
		if (!text)
			return false;
		*address = (struct pci_address){ .domain = first, .bus = second, .slot = third };
	} else {
		*address = (struct pci_address){ .bus = first, .slot = second };
	}
	if (*text != '.')
		return false;
	text = hex_read(text + 1, 1, &address->function);
	return text && *text == '\0' && address->bus <= 0xff && address->slot <= 0x1f &&
	       address->function <= 7;
}

int pci_address_compare(const struct pci_address *a, const struct pci_address *b)
{
	if (a->domain != b->domain)
		return a->domain < b->domain ? -1 : 1;
	if (a->bus != b->bus)
		return a->bus < b->bus ? -1 : 1;
	if (a->slot != b->slot)
		return a->slot < b->slot ? -1 : 1;
	return (a->function > b->function) - (a->function < b->function);
}
