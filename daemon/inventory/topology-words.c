/* The topology of a group in words. Who reads them knows what a slot is, and not what ACS is. */
#include "daemon/inventory/topology.h"

#include "daemon/base/util.h"

#include <ctype.h>
#include <string.h>

/* --- what keeps members together ------------------------------------------------------ */

enum cause_kind {
	CAUSE_DOMAIN, /* behind a controller whose requester id all of its devices have */
	CAUSE_ALIAS,  /* behind a bridge that puts its requester id on what is behind it */
	CAUSE_PORT,   /* below a port that does not isolate */
	CAUSE_SLOT,   /* not isolated from the other functions of the slot */
	CAUSE_UNSEEN, /* nobody can say: a function on the way does not tell */
};

struct cause {
	enum cause_kind kind;
	const char *name;                    /* of the function, or the slot */
	const struct pci_function *function; /* NULL: CAUSE_DOMAIN */
};

struct causes {
	struct cause *list;
	size_t n;
	bool is_short; /* of memory */
};

static void cause_add(struct causes *causes, enum cause_kind kind, const char *name,
	const struct pci_function *function)
{
	for (size_t i = 0; i < causes->n; i++)
		if (causes->list[i].kind == kind && strcmp(causes->list[i].name, name) == 0)
			return;
	struct cause *grown = reallocarray(causes->list, causes->n + 1, sizeof(*grown));
	if (!grown) {
		causes->is_short = true;
		return;
	}
	causes->list = grown;
	grown[causes->n++] = (struct cause){ kind, name, function };
}

/* Nearest to the member first. */
static void causes_of_member(struct causes *causes, const struct topology_member *member)
{
	if (!member->is_pci)
		return;
	if (*member->real_dma) {
		cause_add(causes, CAUSE_DOMAIN, member->real_dma, NULL);
		return;
	}
	for (size_t i = 0; !member->is_resolved && i < member->n_path; i++)
		if (member->path[i].kind == PCI_UNKNOWN || member->path[i].acs == ACS_UNSEEN)
			cause_add(causes, CAUSE_UNSEEN, member->path[i].name, &member->path[i]);
	if (!member->is_resolved)
		return;
	if (member->alias < member->n_path - 1)
		cause_add(causes, CAUSE_ALIAS, member->path[member->alias].name,
			&member->path[member->alias]);
	for (size_t i = member->alias; i-- > 0;)
		if (!pci_function_isolates(&member->path[i]))
			cause_add(causes, CAUSE_PORT, member->path[i].name, &member->path[i]);
	if (member->shares_slot)
		cause_add(causes, CAUSE_SLOT, member->key, &member->path[member->top]);
}

static struct causes causes_of(const struct topology *topology)
{
	struct causes causes = { 0 };
	for (size_t i = 0; i < topology->n_members; i++)
		causes_of_member(&causes, &topology->members[i]);
	return causes;
}

/* --- words --------------------------------------------------------------------------------- */

/* Between the n-th of `total` and what is before it: "A", "A and B", "A, B and C". */
static void separate(FILE *out, size_t n, size_t total)
{
	if (n > 0)
		fputs(n + 1 == total ? " and " : ", ", out);
}

static void missing_write(FILE *out, uint16_t missing)
{
	static const struct {
		uint16_t bit;
		const char *name;
	} bits[] = {
		{ ACS_SOURCE_VALIDATION, "source validation" },
		{ ACS_REQUEST_REDIRECT, "P2P request redirect" },
		{ ACS_COMPLETION_REDIRECT, "P2P completion redirect" },
		{ ACS_UPSTREAM_FORWARDING, "upstream forwarding" },
	};
	size_t n = 0, total = (size_t)__builtin_popcount(missing);
	for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
		if (missing & bits[i].bit) {
			separate(out, n++, total);
			fputs(bits[i].name, out);
		}
	fputs(total == 1 ? " is off" : " are off", out);
}

/* "has no ACS", "has ACS, but P2P request redirect is off" */
static void acs_write(FILE *out, const struct pci_function *function)
{
	fprintf(out, "has %s (Access Control Services)",
		function->acs == ACS_OFF ? "ACS" : "no ACS");
	if (function->acs == ACS_OFF) {
		fputs(", but ", out);
		missing_write(out, function->acs_missing);
	}
}

static bool is_below(const struct topology_member *member, const struct cause *cause)
{
	if (cause->kind == CAUSE_DOMAIN)
		return strcmp(member->real_dma, cause->name) == 0;
	if (cause->kind == CAUSE_SLOT)
		return member->shares_slot && strcmp(member->key, cause->name) == 0 &&
		       member->top == member->n_path - 1;
	for (size_t i = 0; i + 1 < member->n_path; i++)
		if (strcmp(member->path[i].name, cause->name) == 0)
			return true;
	return false;
}

/* How many there are. `last`: who is named after them, NULL for nobody. */
static size_t members_write(
	FILE *out, const struct topology *topology, const struct cause *cause, const char *last)
{
	size_t n = 0, total = 0;
	for (size_t i = 0; i < topology->n_members; i++)
		total += is_below(&topology->members[i], cause);
	for (size_t i = 0; i < topology->n_members; i++)
		if (is_below(&topology->members[i], cause)) {
			separate(out, n++, total + !!last);
			fputs(topology->members[i].name, out);
		}
	if (last) {
		separate(out, n, n + 1);
		fputs(last, out);
	}
	return total;
}

static void unseen_write(FILE *out, const struct pci_function *function)
{
	if (function->is_dead)
		fprintf(out,
			"%s does not answer: its config space reads as all ones, as of a device "
			"that is broken or has no power.",
			function->name);
	else if (function->error)
		fprintf(out, "The config space of %s could not be read (%s).", function->name,
			strerrordesc_np(function->error));
	else if (function->is_cut)
		fprintf(out,
			"Of the config space of %s, vfiod is shown the beginning only: it needs "
			"CAP_SYS_ADMIN.",
			function->name);
	else
		fprintf(out, "The config space of %s does not tell what it is.", function->name);
}

static void cause_write(FILE *out, const struct topology *topology, const struct cause *cause)
{
	const struct pci_function *function = cause->function;
	switch (cause->kind) {
	case CAUSE_DOMAIN:
		fprintf(out, "All devices behind controller %s do DMA with its requester id: ",
			cause->name);
		members_write(out, topology, cause, NULL);
		fputs(".", out);
		break;
	case CAUSE_ALIAS:
		fprintf(out, "%s is a %s. ", function->name, pci_kind_name(function->kind));
		fprintf(out,
			"What is on its secondary side (bus %02x) shares one requester id, the "
			"bridge's, so the IOMMU cannot tell apart ",
			function->secondary_bus);
		members_write(out, topology, cause, "the bridge itself");
		fputs(".", out);
		break;
	case CAUSE_PORT:
		fprintf(out, "%c%s %s ", toupper((unsigned char)*pci_kind_name(function->kind)),
			pci_kind_name(function->kind) + 1, function->name);
		acs_write(out, function);
		fputs(": past the IOMMU, others below and beside it can reach ", out);
		members_write(out, topology, cause, NULL);
		fputs(".", out);
		break;
	case CAUSE_SLOT:
		if (members_write(out, topology, cause, NULL) > 1)
			fputs(" are functions of one device, and can reach each other inside of it "
			      "past the IOMMU: ",
				out);
		else
			fputs(" is one of several functions of a device, which can reach each "
			      "other inside of it past the IOMMU: ",
				out);
		if (function->kind == PCI_CONVENTIONAL)
			fputs("they are not PCI Express, so there is no ACS (Access Control "
			      "Services).",
				out);
		else {
			fprintf(out, "%s ", function->name);
			acs_write(out, function);
			fputs(".", out);
		}
		break;
	case CAUSE_UNSEEN:
		unseen_write(out, function);
		break;
	}
}

/* --- one that is alone ------------------------------------------------------------------ */

static void alone_elsewhere_write(FILE *out, const struct topology_member *member)
{
	fprintf(out, "%s is alone in its group. ", member->name);
	if (strcmp(member->bus, "mdev") == 0) {
		fprintf(out, "It is a mediated device of %s", member->parent);
		if (*member->parent_driver)
			fprintf(out, " (driver %s)", member->parent_driver);
		fputs(": the group is made for it alone, and the driver of its parent keeps its "
		      "memory apart from that of others.",
			out);
		return;
	}
	fprintf(out,
		"It is a device of bus %s: firmware gives it an id of its own at the IOMMU, "
		"which no other device shares.",
		member->bus);
}

static void ports_write(FILE *out, const struct topology_member *member)
{
	if (member->n_path == 1) {
		fprintf(out, "It is on the root bus (%s), with no bridge above it", member->root);
		return;
	}
	size_t n = 0, total = 0;
	for (size_t i = 0; i + 1 < member->n_path; i++)
		total += member->path[i].acs == ACS_ON;
	fputs("ACS (Access Control Services) is on in ", out);
	for (size_t i = 0; i + 1 < member->n_path; i++)
		if (member->path[i].acs == ACS_ON) {
			separate(out, n++, total);
			fprintf(out, "%s %s", pci_kind_name(member->path[i].kind),
				member->path[i].name);
		}
	fputs(", so nothing beside can reach it past the IOMMU", out);
}

static void alone_write(FILE *out, const struct topology_member *member)
{
	const struct pci_function *function = &member->path[member->n_path - 1];

	fprintf(out, "%s is alone in its group. ", member->name);
	ports_write(out, member);
	if (*member->physfn)
		fprintf(out, "; it is a virtual function of %s, with a requester id of its own.",
			member->physfn);
	else if (!function->is_multifunction)
		fputs(", and it is the only function of its device.", out);
	else if (pci_function_isolates(function))
		fputs(", and its own ACS keeps it apart from the other functions of its device.",
			out);
	else if (member->n_siblings == 0)
		fputs(", and the other functions of its device are not there.", out);
	else
		fputs(", and the other functions of its device isolate themselves.", out);
}

/* --- the answers -------------------------------------------------------------------------- */

static void unexplained_write(FILE *out, const struct topology *topology)
{
	if (topology->n_members == 1)
		fprintf(out,
			"The topology does not explain why %s is alone: the kernel knows more of "
			"one of these devices than its config space shows (a quirk), or ACS was "
			"changed since the device appeared.",
			topology->members[0].name);
	else
		fputs("The topology does not explain this group: firmware tables, or a quirk that "
		      "the kernel knows of one of the devices, can put devices together, and "
		      "config space does not show either. ACS may have been changed since the "
		      "devices appeared, too.",
			out);
}

static void reason_write(FILE *out, const struct topology *topology, const struct causes *causes)
{
	bool is_explained = topology_explains(topology);

	if (topology->n_members == 0) {
		fputs("The group has no devices any more.", out);
		return;
	}
	/* It has one device. */
	if (topology->is_noiommu) {
		fprintf(out,
			"No IOMMU translates for %s. VFIO has made the group for it (no-IOMMU "
			"mode), and it isolates nothing: who has the device can read and write all "
			"of the host's memory.",
			topology->members[0].name);
		return;
	}
	if (topology->n_members == 1 && is_explained) {
		if (topology->members[0].is_pci && !*topology->members[0].real_dma)
			alone_write(out, &topology->members[0]);
		else if (!topology->members[0].is_pci)
			alone_elsewhere_write(out, &topology->members[0]);
		else
			fprintf(out, "%s is alone in its group.", topology->members[0].name);
		return;
	}
	for (size_t i = 0; i < causes->n; i++) {
		if (i > 0)
			fputc(' ', out);
		cause_write(out, topology, &causes->list[i]);
	}
	if (!is_explained) {
		if (causes->n > 0)
			fputc(' ', out);
		unexplained_write(out, topology);
	}
}

static void advise(FILE *out, const struct topology *topology, const struct causes *causes)
{
	bool seen[CAUSE_UNSEEN + 1] = { false }, has_bare_port = false, has_port_off = false;

	if (topology->n_members < 2)
		return;
	for (size_t i = 0; i < causes->n; i++) {
		const struct cause *cause = &causes->list[i];
		seen[cause->kind] = true;
		if (cause->kind == CAUSE_PORT)
			*(cause->function->acs == ACS_OFF ? &has_port_off : &has_bare_port) = true;
	}
	if (seen[CAUSE_ALIAS])
		fputs("What is behind the bridge can be given away together only; in a PCI Express "
		      "slot, each device has a requester id of its own. ",
			out);
	if (has_port_off)
		fputs("The port can isolate: turn ACS on in the setup of the firmware, and see "
		      "that the kernel was not told to leave it off (pci=disable_acs_redir=). ",
			out);
	if (has_bare_port)
		fputs("Another slot, below a port with ACS, keeps a device apart; no setting gives "
		      "this port one. Kernels with an ACS override only hide that the devices "
		      "reach each other. ",
			out);
	if (seen[CAUSE_SLOT] && !has_port_off && !has_bare_port)
		fputs("Functions of one device that are not isolated can be given away together "
		      "only. ",
			out);
}

static char *written(const struct topology *topology,
	void (*write)(FILE *, const struct topology *, const struct causes *))
{
	struct causes causes = causes_of(topology);
	char *text = NULL;
	size_t length = 0;
	FILE *out = causes.is_short ? NULL : open_memstream(&text, &length);

	if (out) {
		write(out, topology, &causes);
		if (fclose(out) != 0) {
			free(text);
			text = NULL;
		}
	}
	free(causes.list);
	while (text && length > 0 && text[length - 1] == ' ')
		text[--length] = '\0';
	return text;
}

char *topology_reason(const struct topology *topology)
{
	return written(topology, reason_write);
}

char *topology_advice(const struct topology *topology)
{
	return written(topology, advise);
}
