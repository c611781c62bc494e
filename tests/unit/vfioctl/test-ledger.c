/* What vfioctl says of pinned pages: ledger, audit, and the lines in status and leases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "client/vfioctl/format.h"
#include "client/vfioctl/vfioctl.h"
#include "tests/unit/vfioctl/ctl.h"

#define MIB_32 "33554432"
#define MIB_64 "67108864"
#define GIB_16 "17179869184"
#define GIB_24 "25769803776"
#define GIB_32 "34359738368"

#define ACCOUNT(name, owed, limit, bill, bill_limit)                                               \
	"{\"name\":\"" name "\",\"owedBytes\":" owed ",\"owedLimitBytes\":" limit                  \
	",\"kernelBillBytes\":" bill ",\"kernelBillLimitBytes\":" bill_limit                       \
	",\"reservedBytes\":0}"
#define ACCOUNTS                                                                                   \
	ACCOUNT("alice", GIB_16, GIB_24, GIB_32, "null")                                           \
	"," ACCOUNT("uid:0", MIB_32, GIB_24, MIB_64, GIB_32) ","                                   \
							     "" ACCOUNT("lease:L7\\u001b", "0",    \
								     MIB_64, "0", "null")
#define SPACE(name, state, account, keeper, groups, owed, bill)                                    \
	"{\"name\":\"" name "\",\"state\":\"" state "\",\"account\":" account                      \
	",\"uid\":0,\"pid\":4711,\"keeperPid\":" keeper ",\"groups\":[" groups                     \
	"],\"backend\":\"type1\",\"owedBytes\":" owed ",\"kernelBillBytes\":" bill                 \
	",\"mappings\":1,\"mappedBytes\":" owed "}"
#define BOOK(accounts, spaces, leases, limit)                                                      \
	"{\"owedBytes\":" GIB_16 ",\"limitBytes\":" limit ",\"kernelBillBytes\":" GIB_32           \
	",\"accounts\":[" accounts "],\"spaces\":[" spaces "],\"leases\":[" leases "]}"
#define WHOLE_BOOK                                                                                 \
	BOOK(ACCOUNTS,                                                                             \
		SPACE("S1", "live", "\"alice\"", "99", "7,13", GIB_16, GIB_32) "," SPACE("S2",     \
			"orphaned", "\"uid:0\"", "null", "8", MIB_32,                              \
			MIB_64) "," SPACE("S3", "starting", "null", "100", "", "0", "0"),          \
		"{\"lease\":\"L3\",\"account\":\"alice\",\"groups\":[7,13],\"spaces\":[\"S1\","    \
		"\"S2\"],\"owedBytes\":" GIB_16 ",\"kernelBillBytes\":" GIB_32                     \
		",\"reservedBytes\":0,\"isTrusted\":false},{\"lease\":\"L4\",\"account\":"         \
		"\"alice\",\"groups\":[9],\"spaces\":[],"                                          \
		"\"owedBytes\":0,\"kernelBillBytes\":0,\"reservedBytes\":0,\"isTrusted\":false}",  \
		GIB_24)

static bool is(const char *method, const char *name)
{
	return strcmp(method, name) == 0;
}

static void answer(struct fake *fake, int peer, const char *method, struct json_object *parameters,
	const int *fds, size_t n_fds)
{
	(void)parameters;
	(void)fds;
	(void)n_fds;
	fake_expect(is(method, "org.vfiod.Ledger.Describe"), "Describe");
	fake_reply(fake, peer, false, WHOLE_BOOK);
}

static void assert_fits_80_columns(const char *text)
{
	while (*text) {
		size_t length = strcspn(text, "\n");
		char line[256];

		assert_true(length < sizeof line && text[length] == '\n');
		memcpy(line, text, length);
		line[length] = '\0';
		assert_in_range(format_width(line), 0, 80);
		text += length + 1;
	}
}

static void the_ledger_is_a_table(void **state)
{
	static const char by_account[] =
		"ACCOUNT    OWED                  KERNEL BILL           SAVED\n"
		"alice      16.0 of 24.0 GiB      32.0 GiB              16.0 GiB\n"
		"uid:0      32.0 MiB of 24.0 GiB  64.0 MiB of 32.0 GiB  32.0 MiB\n"
		"lease:L7?  0 of 64.0 MiB         0 B                   0 B\n"
		"This host: 16.0 of 24.0 GiB pinned; the kernel bills 32.0 GiB\n";
	struct fake *fake = fake_start(answer);

	(void)state;
	assert_int_equal(ctl(fake, "ledger", NULL), 0);
	assert_string_equal(ctl_out, by_account);
	assert_int_equal(ctl(fake, "ledger", "--by", "account", NULL), 0);
	assert_string_equal(ctl_out, by_account);
	assert_fits_80_columns(ctl_out);
	assert_int_equal(ctl(fake, "ledger", "--by=space", NULL), 0);
	assert_string_equal(ctl_out,
		"SPACE  STATE     ACCOUNT  OWNER      GROUPS  OWED      KERNEL BILL  SAVED\n"
		"S1     live      alice    root/4711  7,13    16.0 GiB  32.0 GiB     16.0 GiB\n"
		"S2     orphaned  uid:0    root/4711  8       32.0 MiB  64.0 MiB     32.0 MiB\n"
		"S3     starting  -        root/4711  -       0 B       0 B          0 B\n"
		"S2: its keeper has ended, but a device of group 8 may still be open; what it\n"
		"  keeps pinned is owed until that is closed\n");
	assert_fits_80_columns(ctl_out);
	assert_int_equal(ctl(fake, "ledger", "--by", "lease", "--no-legend", NULL), 0);
	assert_string_equal(ctl_out, "L3  alice  7,13  S1,S2  16.0 GiB  32.0 GiB  16.0 GiB\n"
				     "L4  alice  9     -      0 B       0 B       0 B\n");
	assert_int_equal(ctl(fake, "ledger", "--by", "space", "--no-legend", NULL), 0);
	assert_null(strstr(ctl_out, "keeper"));
	assert_int_equal(ctl(fake, "ledger", "--json", NULL), 0);
	assert_memory_equal(ctl_out, "{\"owedBytes\":" GIB_16 ",", 25);
	assert_string_equal(ctl_err, "");
	assert_int_equal(ctl(fake, "ledger", "--by", "uid", NULL), EXIT_USAGE);
	assert_string_equal(ctl_err, "vfioctl ledger: --by uid: not account, space or lease\n"
				     "See vfioctl ledger --help.\n");
	assert_int_equal(ctl(fake, "ledger", "alice", NULL), EXIT_USAGE);
	fake_stop(fake);
}

static void answer_empty(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)method;
	(void)parameters;
	(void)fds;
	(void)n_fds;
	if (peer < 4)
		fake_reply(fake, peer, false, BOOK("", "", "", "null"));
	else
		fake_error(fake, peer, "org.varlink.service.InterfaceNotFound",
			"{\"interface\":\"org.vfiod.Ledger\"}");
}

static void an_empty_ledger_says_so(void **state)
{
	struct fake *fake = fake_start(answer_empty);

	(void)state;
	assert_int_equal(ctl(fake, "ledger", NULL), 0);
	assert_string_equal(ctl_out, "Nothing is pinned or reserved.\n");
	assert_int_equal(ctl(fake, "ledger", "--by", "space", NULL), 0);
	assert_string_equal(ctl_out, "No spaces.\n");
	assert_int_equal(ctl(fake, "ledger", "--by", "lease", NULL), 0);
	assert_string_equal(ctl_out, "No leases that pin or reserve anything.\n");
	assert_int_equal(ctl(fake, "ledger", "--no-legend", NULL), 0);
	assert_string_equal(ctl_out, "");
	assert_int_equal(ctl(fake, "ledger", NULL), EXIT_REFUSED);
	assert_string_equal(ctl_err,
		"vfioctl: cannot read the ledger: this vfiod does not know the "
		"interface org.vfiod.Ledger\n");
	fake_stop(fake);
}

/* --- who maps by himself ------------------------------------------------------------ */

#define MIB_16 "16777216"
#define MIB_512 "536870912"
#define GIB_2 "2147483648"
#define DIRECT_BOOK                                                                                \
	"{\"owedBytes\":" MIB_32 ",\"limitBytes\":null,\"kernelBillBytes\":1140850688,"            \
	"\"accounts\":["                                                                           \
	"{\"name\":\"uid:1000\",\"owedBytes\":" MIB_32 ",\"owedLimitBytes\":" GIB_16               \
	",\"kernelBillBytes\":603979776,\"kernelBillLimitBytes\":" GIB_2                           \
	",\"reservedBytes\":" MIB_512 "},"                                                         \
	"{\"name\":\"dpdk\\u001b[2J\",\"owedBytes\":0,\"kernelBillBytes\":" MIB_512                \
	",\"reservedBytes\":" MIB_512 ",\"observedBytes\":" MIB_32                                 \
	",\"observedBillBytes\":" MIB_64 "},"                                                      \
	"{\"name\":\"uid:0\",\"owedBytes\":0,\"kernelBillBytes\":0,\"reservedBytes\":0,"           \
	"\"observedBytes\":0,\"observedBillBytes\":0}],\"spaces\":[],\"leases\":["                 \
	"{\"lease\":\"L3\",\"account\":\"uid:1000\",\"groups\":[7,13],\"spaces\":[\"S1\"],"        \
	"\"owedBytes\":" MIB_32 ",\"kernelBillBytes\":" MIB_64                                     \
	",\"reservedBytes\":0,\"isTrusted\":false},"                                               \
	"{\"lease\":\"L4\",\"account\":\"uid:1000\",\"groups\":[9],\"spaces\":[],"                 \
	"\"owedBytes\":0,\"kernelBillBytes\":0,\"reservedBytes\":" MIB_512                         \
	",\"isTrusted\":false},"                                                                   \
	"{\"lease\":\"L5\",\"account\":\"dpdk\\u001b[2J\",\"groups\":[11],\"spaces\":[],"          \
	"\"owedBytes\":0,\"kernelBillBytes\":0,\"reservedBytes\":0,\"isTrusted\":true,"            \
	"\"observedBytes\":" MIB_32 ",\"observedBillBytes\":" MIB_64                               \
	",\"unobservedBytes\":" MIB_16 "}]}"

static void answer_direct(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)parameters;
	(void)fds;
	(void)n_fds;
	if (is(method, "org.vfiod.Ledger.Describe"))
		fake_reply(fake, peer, false, DIRECT_BOOK);
	else if (is(method, "org.vfiod.Admin.Status"))
		fake_reply(fake, peer, false,
			"{\"version\":\"1.0\",\"uptimeSeconds\":1,\"hasIommufd\":false,\"groups\":"
			"0,"
			"\"devices\":0,\"bindings\":{},\"owners\":{},\"leases\":1,\"waiting\":0,"
			"\"rules\":1,\"problems\":[]}");
	else if (is(method, "org.vfiod.Broker.Pools"))
		fake_reply(fake, peer, false, "{\"pools\":[]}");
	else if (is(method, "org.vfiod.Broker.Describe"))
		fake_reply(fake, peer, false,
			"{\"group\":{\"number\":9,\"type\":\"DMA\",\"binding\":\"taken\",\"owner\":"
			"\"leased\",\"holder\":{\"pid\":312,\"uid\":0,\"command\":\"qemu\"},"
			"\"holderEvidence\":\"lease\",\"lease\":\"L4\",\"isCovered\":true,"
			"\"mayLease\":false,\"devices\":[],\"reservedRegions\":[]}}");
	else
		fake_reply(fake, peer, false,
			"{\"leases\":[{\"lease\":\"L3\",\"groups\":[7,13],\"holder\":{\"pid\":4711,"
			"\"uid\":0,\"command\":\"spdk\"},\"mode\":\"group\",\"account\":\"uid:"
			"1000\",\"ageSeconds\":"
			"240,"
			"\"followsProcess\":false,\"isGranted\":true,\"isReleaseRequested\":false,"
			"\"isTrusted\":false,\"memoryBytes\":0},"
			"{\"lease\":\"L4\",\"groups\":[9],\"holder\":{\"pid\":312,\"uid\":0,"
			"\"command\":\"qemu\"},\"mode\":\"group\",\"account\":\"uid:1000\","
			"\"ageSeconds\":1,"
			"\"followsProcess\":true,\"isGranted\":true,\"isReleaseRequested\":false,"
			"\"isTrusted\":false,\"memoryMaxBytes\":" GIB_2 ",\"memoryBytes\":" MIB_512
			"},"
			"{\"lease\":\"L5\",\"groups\":[11],\"holder\":{\"pid\":6,\"uid\":0,"
			"\"command\":\"dpdk\"},\"mode\":\"group\",\"account\":\"dpdk\\u001b[2J\","
			"\"ageSeconds\":2,"
			"\"followsProcess\":true,\"isGranted\":true,\"isReleaseRequested\":false,"
			"\"isTrusted\":true,\"memoryBytes\":0}]}");
}

#define BY_ACCOUNT                                                                                 \
	"uid:1000    32.0 MiB of 16.0 GiB  576.0 MiB of 2.0 GiB  32.0 MiB\n"                       \
	"  reserved                        512.0 MiB\n"                                            \
	"dpdk?[2J    0 B                   512.0 MiB             0 B\n"                            \
	"  reserved                        512.0 MiB\n"                                            \
	"  observed  32.0 MiB              64.0 MiB              32.0 MiB\n"                       \
	"uid:0       0 B                   0 B                   0 B\n"                            \
	"  observed  0 B                   0 B                   0 B\n"
#define EXPLAINED                                                                                  \
	"observed: what clients that are trusted say they map by themselves: its pages,\n"         \
	"  what the kernel bills for them, and the difference. Nobody verifies it, and no\n"       \
	"  limit holds it\n"

static void who_maps_by_himself_is_told_apart(void **state)
{
	struct fake *fake = fake_start(answer_direct);

	(void)state;
	/* What is reserved is nobody's savings. */
	assert_int_equal(ctl(fake, "ledger", NULL), 0);
	assert_string_equal(ctl_out,
		"ACCOUNT     OWED                  KERNEL BILL           SAVED\n" BY_ACCOUNT
		"This host: 32.0 MiB pinned; the kernel bills 1.1 GiB, 1.0 GiB of it "
		"reserved\n" EXPLAINED);
	assert_fits_80_columns(ctl_out);
	assert_int_equal(ctl(fake, "ledger", "--no-legend", NULL), 0);
	assert_string_equal(ctl_out, BY_ACCOUNT);
	assert_int_equal(ctl(fake, "ledger", "--by", "lease", NULL), 0);
	assert_string_equal(ctl_out,
		"LEASE         ACCOUNT   GROUPS  SPACES        OWED      KERNEL BILL  SAVED\n"
		"L3            uid:1000  7,13    S1            32.0 MiB  64.0 MiB     32.0 MiB\n"
		"L4            uid:1000  9       none: direct  0 B       0 B          0 B\n"
		"  reserved                                              512.0 MiB\n"
		"L5            dpdk?[2J  11      none: direct  0 B       0 B          0 B\n"
		"  observed                                    32.0 MiB  64.0 MiB     32.0 MiB\n"
		"  unobserved                                            16.0 MiB\n" EXPLAINED);
	assert_fits_80_columns(ctl_out);
	assert_int_equal(ctl(fake, "ledger", "--json", NULL), 0);
	assert_non_null(strstr(ctl_out, "\"unobservedBytes\":16777216"));
	assert_int_equal(ctl(fake, "leases", NULL), 0);
	assert_string_equal(ctl_out,
		"LEASE  GROUPS  OWNER           ACCOUNT   AGE    RESERVED   BOUND    STATE\n"
		"L3     7,13    root spdk/4711  uid:1000  4 min  -          -        granted in "
		"S1\n"
		"L4     9       root qemu/312   uid:1000  1 s    512.0 MiB  2.0 GiB  granted\n"
		"L5     11      root dpdk/6     dpdk?[2J  2 s    -          trusted  granted\n");
	assert_int_equal(ctl(fake, "status", NULL), 0);
	assert_non_null(strstr(ctl_out,
		"Ledger  uid:1000 32.0 MiB of 16.0 GiB (kernel bills 576.0 MiB of 2.0 GiB, 512.0\n"
		"        MiB of it reserved)\n"
		"        dpdk?[2J 0 B (kernel bills 512.0 MiB, 512.0 MiB of it reserved)\n"));
	assert_fits_80_columns(ctl_out);
	assert_int_equal(ctl(fake, "status", "group:9", NULL), 0);
	assert_non_null(strstr(ctl_out, "  Holder    root qemu/312, lease L4\n"
					"  Memory    512.0 MiB reserved; bounded by a memory.max "
					"of 2.0 GiB\n"));
	fake_stop(fake);
}

/* --- in other commands ---------------------------------------------------------- */

static void answer_others(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)parameters;
	(void)fds;
	(void)n_fds;
	if (is(method, "org.vfiod.Admin.Status"))
		fake_reply(fake, peer, false,
			"{\"version\":\"1.0\",\"uptimeSeconds\":1,\"iommu\":null,\"hasIommufd\":"
			"false,"
			"\"groups\":0,\"devices\":0,\"bindings\":{},\"owners\":{},\"leases\":1,"
			"\"waiting\":0,\"rules\":1,\"problems\":[]}");
	else if (is(method, "org.vfiod.Broker.Pools")) /* a vfiod that knows of none */
		fake_error(fake, peer, "org.varlink.service.MethodNotFound",
			"{\"method\":\"org.vfiod.Broker.Pools\"}");
	else if (is(method, "org.vfiod.Broker.Leases"))
		fake_reply(fake, peer, false,
			"{\"leases\":[{\"lease\":\"L3\",\"groups\":[7,13],\"holder\":{\"pid\":4711,"
			"\"uid\":0,\"command\":\"spdk\"},\"mode\":\"group\",\"account\":\"alice\","
			"\"ageSeconds\":240,"
			"\"followsProcess\":false,\"isGranted\":true,\"isReleaseRequested\":false,"
			"\"isTrusted\":false,\"memoryBytes\":0},"
			"{\"lease\":\"L4\",\"groups\":[9],\"holder\":{\"pid\":5,\"uid\":0,"
			"\"command\":\"x\"},\"mode\":\"group\",\"account\":\"alice\","
			"\"ageSeconds\":1,"
			"\"followsProcess\":true,\"isGranted\":true,\"isReleaseRequested\":true,"
			"\"isTrusted\":false,\"memoryBytes\":0},{"
			"\"lease\":\"L5\",\"groups\":[8],\"holder\":{\"pid\":6,\"uid\":0,"
			"\"command\":\"y\"},\"mode\":\"group\",\"account\":\"bob\",\"ageSeconds\":"
			"2,"
			"\"followsProcess\":true,\"isGranted\":true,\"isReleaseRequested\":false,"
			"\"isTrusted\":false,\"memoryBytes\":0}]"
			"}");
	else if (peer == 0)
		fake_reply(fake, peer, false, BOOK(ACCOUNTS, "", "", "null"));
	else if (peer == 1)
		fake_reply(fake, peer, false, BOOK(ACCOUNTS "," ACCOUNTS, "", "", "null"));
	else if (peer == 2)
		fake_reply(fake, peer, false, BOOK("", "", "", "null"));
	else
		fake_reply(fake, peer, false, WHOLE_BOOK);
}

#define LEDGER                                                                                     \
	"Ledger  alice 16.0 of 24.0 GiB (kernel bills 32.0)\n"                                     \
	"        uid:0 32.0 MiB of 24.0 GiB (kernel bills 64.0 MiB of 32.0 GiB)\n"                 \
	"        lease:L7? 0 of 64.0 MiB (kernel bills 0 B)\n"

static void status_and_leases_have_it(void **state)
{
	struct fake *fake = fake_start(answer_others);

	(void)state;
	assert_int_equal(ctl(fake, "status", NULL), 0);
	assert_non_null(strstr(ctl_out, "\nLeases  1, 0 waiting\n" LEDGER));
	assert_int_equal(ctl(fake, "status", NULL), 0);
	assert_non_null(strstr(ctl_out, LEDGER "        and 3 more: vfioctl ledger\n"));
	assert_int_equal(ctl(fake, "status", NULL), 0);
	assert_null(strstr(ctl_out, "Ledger"));
	assert_int_equal(ctl(fake, "leases", NULL), 0);
	assert_string_equal(ctl_out,
		"LEASE  GROUPS  OWNER           ACCOUNT  AGE    STATE\n"
		"L3     7,13    root spdk/4711  alice    4 min  granted in S1,S2\n"
		"L4     9       root x/5        alice    1 s    asked back in no space\n"
		"L5     8       root y/6        bob      2 s    granted\n");
	fake_stop(fake);
}

/* --- audit ------------------------------------------------------------------------ */

#define AUDITED(name, state, different, locked, finding)                                           \
	"{\"space\":\"" name "\",\"state\":\"" state "\",\"differentPages\":" different            \
	",\"kernelBillBytes\":" MIB_64 ",\"lockedBytes\":" locked ",\"finding\":" finding "}"

#define AUDITED_LEASE(name, trusted, reserved, locked, reported, different, max, finding, wrong)   \
	"{\"lease\":\"" name "\",\"account\":\"uid:1000\",\"pid\":4711,\"isTrusted\":" trusted     \
	",\"reservedBytes\":" reserved ",\"lockedBytes\":" locked ",\"lockLimitBytes\":" locked    \
	",\"reportedBytes\":" reported ",\"differentPages\":" different ",\"memoryMaxBytes\":" max \
	",\"finding\":" finding ",\"isWrong\":" wrong "}"
#define DIRECT_AUDIT                                                                               \
	"{\"isRight\":false,\"spaces\":[" AUDITED("S1", "live", "0", MIB_64,                       \
		"null") "],\"leases\":[" AUDITED_LEASE("L4", "false", MIB_512, MIB_64, "null",     \
		"0", GIB_2, "\"what it has pinned that is not in its VmLck cannot be known\"",     \
		"false") "," AUDITED_LEASE("L5", "true", "0", "null", MIB_32, "0", "null", "null", \
		"false") "," AUDITED_LEASE("L12", "true", "0", MIB_64, MIB_32, "3", "null",        \
		"\"its page tables have changed \\u001b[2J since they were observed\"",            \
		"true") "],\"kernelBillBytes\":603979776,\"hostPinnedBytes\":null,\"findings\":[]" \
			"}"

static void answer_audit(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)parameters;
	(void)fds;
	(void)n_fds;
	fake_expect(is(method, "org.vfiod.Admin.Audit"), "Audit");
	if (peer == 0)
		fake_reply(fake, peer, false,
			"{\"isRight\":true,\"spaces\":[" AUDITED(
				"S1", "live", "0", MIB_64, "null") "," AUDITED("S2", "orphaned",
				"0", "null", "null") "],\"leases\":[],\"kernelBillBytes\":"
						     "134217728,\"hostPinnedBytes\":"
						     "150994944,\"findings\":[]}");
	else if (peer < 3)
		fake_reply(fake, peer, false,
			"{\"isRight\":false,\"spaces\":[" AUDITED("S1", "live", "1", MIB_64,
				"\"a hole was punched in its memory after it was mapped: the "
				"device uses the old page\"") "," AUDITED("S2", "live", "2", MIB_32,
				"null") "],\"leases\":[],\"kernelBillBytes\":134217728,"
					"\"hostPinnedBytes\":null,"
					"\"findings\":[\"less is pinned than is charged\"]}");
	else if (peer == 3)
		fake_reply(fake, peer, false,
			"{\"isRight\":true,\"spaces\":[],\"leases\":[],\"kernelBillBytes\":0,"
			"\"hostPinnedBytes\":0,\"findings\":[]}");
	else if (peer == 4)
		fake_reply(fake, peer, false, DIRECT_AUDIT);
	else
		fake_error(fake, peer, "org.varlink.service.PermissionDenied", "{}");
}

static void audit_tells_by_its_exit_status(void **state)
{
	struct fake *fake = fake_start(answer_audit);

	(void)state;
	assert_int_equal(ctl(fake, "audit", NULL), 0);
	assert_string_equal(ctl_out,
		"SPACE  STATE     KERNEL BILL  LOCKED    PAGES\n"
		"S1     live      64.0 MiB     64.0 MiB  as charged\n"
		"S2     orphaned  64.0 MiB     -         -\n"
		"Pinned  128.0 MiB by the books; 144.0 MiB on this host in all, by vfiod or not\n"
		"The books are right.\n");
	assert_fits_80_columns(ctl_out);
	assert_int_equal(ctl(fake, "audit", NULL), EXIT_REFUSED);
	assert_string_equal(ctl_out,
		"SPACE  STATE  KERNEL BILL  LOCKED    PAGES\n"
		"S1     live   64.0 MiB     64.0 MiB  1 differs\n"
		"S2     live   64.0 MiB     32.0 MiB  2 differ\n"
		"!! S1   a hole was punched in its memory after it was mapped: the device uses\n"
		"        the old page\n"
		"!!      less is pinned than is charged\n"
		"Pinned  128.0 MiB by the books\n"
		"The books are not right.\n");
	assert_int_equal(ctl(fake, "audit", "--json", NULL), EXIT_REFUSED);
	assert_memory_equal(ctl_out, "{\"isRight\":false,", 17);
	assert_int_equal(ctl(fake, "audit", NULL), 0);
	assert_string_equal(ctl_out,
		"Pinned  0 B by the books; 0 B on this host in all, by vfiod or "
		"not\nThe books are right.\n");
	assert_int_equal(ctl(fake, "audit", NULL), EXIT_REFUSED);
	assert_string_equal(ctl_out,
		"SPACE  STATE  KERNEL BILL  LOCKED    PAGES\n"
		"S1     live   64.0 MiB     64.0 MiB  as charged\n"
		"\n"
		"LEASE  PID   RESERVED   LOCKED    MAY LOCK  REPORTED  PAGES        BOUND\n"
		"L4     4711  512.0 MiB  64.0 MiB  64.0 MiB  -         -            2.0 GiB\n"
		"L5     4711  0 B        -         -         32.0 MiB  as observed  trusted\n"
		"L12    4711  0 B        64.0 MiB  64.0 MiB  32.0 MiB  3 differ     trusted\n"
		"?? L4   what it has pinned that is not in its VmLck cannot be known\n"
		"!! L12  its page tables have changed ?[2J since they were observed\n"
		"Pinned  576.0 MiB by the books\n"
		"The books are not right.\n");
	assert_fits_80_columns(ctl_out);
	assert_int_equal(ctl(fake, "audit", NULL), EXIT_REFUSED);
	assert_string_equal(ctl_err,
		"vfioctl: cannot audit the ledger: permission denied: this is for administrators\n"
		"Administrators only: try sudo.\n");
	assert_int_equal(ctl(fake, "audit", "S1", NULL), EXIT_USAGE);
	fake_stop(fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_ledger_is_a_table),
		cmocka_unit_test(an_empty_ledger_says_so),
		cmocka_unit_test(who_maps_by_himself_is_told_apart),
		cmocka_unit_test(status_and_leases_have_it),
		cmocka_unit_test(audit_tells_by_its_exit_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
