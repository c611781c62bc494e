# Completion of vfioctl(1) for fish. Names of devices, groups and leases are those of the daemon.

# A daemon that hangs must not hang the shell.
function __vfioctl_names
    vfioctl --timeout 2 _names $argv 2>/dev/null
end

# The command, and what was given to it: options and their values aside.
function __vfioctl_operands
    set -l tokens (commandline -opc)
    set -l skip 0
    for token in $tokens[2..-1]
        if test $skip = 1
            set skip 0
            continue
        end
        switch $token
            case --socket --timeout --unit --reason --device --group --any --near --mode --wait --memory --by --pool
                set skip 1
            case '-*'
            case '*'
                echo -- $token
        end
    end
end

# Is the command one of these, and has it as many operands? (-1: any number)
function __vfioctl_is -a count
    set -l operands (__vfioctl_operands)
    contains -- "$operands[1]" $argv[2..-1]
    and test $count = -1 -o (math (count $operands) - 1) = $count
end
function __vfioctl_is_program
    set -l operands (__vfioctl_operands)
    test "$operands[1]" = run -a (count $operands) -gt 1
end
function __vfioctl_has_none
    test -z (__vfioctl_operands | string collect)
end

complete -c vfioctl -f
complete -c vfioctl -l socket -r -F -d 'Talk to the daemon there'
complete -c vfioctl -l json -d 'Print replies as JSON'
complete -c vfioctl -l no-legend -d 'No titles and no last line'
complete -c vfioctl -l timeout -x -d 'Give up when an answer takes longer'
complete -c vfioctl -s h -l help -d 'Explain the command'
complete -c vfioctl -s V -l version -d 'Print the version'

complete -c vfioctl -n __vfioctl_has_none -a list -d 'Show groups, devices, drivers, owners'
complete -c vfioctl -n __vfioctl_has_none -a status -d 'Show the daemon and the host, or one group'
complete -c vfioctl -n __vfioctl_has_none -a why -d 'Say why devices share a group'
complete -c vfioctl -n __vfioctl_has_none -a check -d 'Say whether this host is ready for VFIO'
complete -c vfioctl -n __vfioctl_has_none -a can -d 'Say whether a user may lease a device'
complete -c vfioctl -n __vfioctl_has_none -a take -d 'Take groups from the drivers of the host'
complete -c vfioctl -n __vfioctl_has_none -a return -d 'Give groups back to the drivers of the host'
complete -c vfioctl -n __vfioctl_has_none -a leases -d 'Show who has which groups, and who waits'
complete -c vfioctl -n __vfioctl_has_none -a revoke -d 'Ask the holder of a lease to give it back'
complete -c vfioctl -n __vfioctl_has_none -a ledger -d 'Show what is pinned, and who owes it'
complete -c vfioctl -n __vfioctl_has_none -a audit -d 'Compare the ledger with the kernel'
complete -c vfioctl -n __vfioctl_has_none -a monitor -d 'Print what happens'
complete -c vfioctl -n __vfioctl_has_none -a run -d 'Run a program that has groups while it lives'
complete -c vfioctl -n __vfioctl_has_none -a reload -d 'Have the daemon read its configuration again'
complete -c vfioctl -n __vfioctl_has_none -a metrics -d 'Print figures for Prometheus'
complete -c vfioctl -n __vfioctl_has_none -a help -d 'Explain vfioctl, or a command'

complete -c vfioctl -n '__vfioctl_is -1 list' -l all -d 'Every group'
complete -c vfioctl -n '__vfioctl_is -1 list' -l pool -x -a '(__vfioctl_names pools)' -d 'What there is of a pool'
complete -c vfioctl -n '__vfioctl_is -1 take return revoke run' -l dry-run -d 'Say what would be done'
complete -c vfioctl -n '__vfioctl_is -1 can' -l unit -x -d 'As if from this systemd unit'
complete -c vfioctl -n '__vfioctl_is -1 revoke' -l end -d 'End the lease now'
complete -c vfioctl -n '__vfioctl_is -1 revoke' -l reason -x -d 'What the holder is told'
complete -c vfioctl -n '__vfioctl_is -1 ledger' -l by -x -a 'account space lease' -d 'A table of these'
complete -c vfioctl -n '__vfioctl_is -1 run' -l device -x -a '(__vfioctl_names devices)' -d 'Its group'
complete -c vfioctl -n '__vfioctl_is -1 run' -l group -x -a '(__vfioctl_names groups)' -d 'This group'
complete -c vfioctl -n '__vfioctl_is -1 run' -l any -x -a '(__vfioctl_names pools | string replace -r "^" pool:)' -d 'Any that fits'
complete -c vfioctl -n '__vfioctl_is -1 run' -l near -x -d 'Rather near this NUMA node'
complete -c vfioctl -n '__vfioctl_is -1 run' -l mode -x -a 'group cdev auto' -d 'How they are handed over'
complete -c vfioctl -n '__vfioctl_is -1 run' -l memory -x -d 'For what it maps: 512M, 16G'
complete -c vfioctl -n '__vfioctl_is -1 run' -l shim -f -a 'seccomp preload' -d 'It opens its groups by itself'
complete -c vfioctl -n '__vfioctl_is -1 run' -l observe -d 'Tell the ledger what it maps'
complete -c vfioctl -n '__vfioctl_is -1 run' -l wait -x -d 'In the queue, so many seconds'

complete -c vfioctl -n '__vfioctl_is 0 status why' -a '(__vfioctl_names devices groups)'
complete -c vfioctl -n '__vfioctl_is -1 take return' -a '(__vfioctl_names devices groups)'
complete -c vfioctl -n '__vfioctl_is 0 can' -a '(__fish_complete_users)'
complete -c vfioctl -n '__vfioctl_is 1 can' -a '(__vfioctl_names devices groups)'
complete -c vfioctl -n '__vfioctl_is 0 revoke' -a '(__vfioctl_names leases)'
# Where a value may be left out, fish offers operands in its place, too.
complete -c vfioctl -n '__vfioctl_is 0 run; and not string match -q -- "-*" (commandline -ct)' -a '(__fish_complete_command)'
complete -c vfioctl -n '__vfioctl_is_program' -F
complete -c vfioctl -n '__vfioctl_is 0 help' -a 'list status why check can take return leases revoke ledger audit monitor run reload metrics'
