/*
 * xdp-attach INTERFACE: attaches a program that lets all packets pass, says "attached", and keeps
 * it until it is ended. By a link, which goes with its descriptor (kernel 5.9).
 */
#include "tests/vm/programs/program.h"

#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sys/syscall.h>
#include <unistd.h>

static int bpf(enum bpf_cmd command, union bpf_attr *attributes)
{
	return (int)syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

int main(int argc, char *argv[])
{
	/* r0 = XDP_PASS; exit */
	static const struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	if (argc != 2)
		errx(EXIT_USAGE, "usage: xdp-attach INTERFACE");
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_XDP,
		.insns = (uintptr_t)code,
		.insn_cnt = sizeof(code) / sizeof(code[0]),
		.license = (uintptr_t) "MIT",
	};
	int program = bpf(BPF_PROG_LOAD, &load);
	if (program < 0)
		err(EXIT_SYSTEM, "BPF_PROG_LOAD");
	union bpf_attr link = {
		.link_create = { .prog_fd = (unsigned)program,
			.target_ifindex = if_nametoindex(argv[1]),
			.attach_type = BPF_XDP,
			.flags = XDP_FLAGS_SKB_MODE },
	};
	if (bpf(BPF_LINK_CREATE, &link) < 0)
		err(EXIT_SYSTEM, "BPF_LINK_CREATE");
	program_hold("attached");
	return 0;
}
