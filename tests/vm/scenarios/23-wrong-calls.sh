# shellcheck shell=bash
# Calls that make no sense are refused by name, and nothing is touched; a peer that does not speak
# Varlink loses its connection, and nobody else does.

start_daemon <<END
[rule edu]
match = pci:address=$EDU
allow = user:alice
END
broker=org.vfiod.Broker

wrong() { # METHOD PARAMETERS ERROR
	assert_eq "$(refused as_user alice "$PROGRAMS/lib/call" "$1" "$2")" "error $3" "$1 $2"
}
invalid() { # METHOD PARAMETERS PARAMETER
	wrong "$1" "$2" "org.varlink.service.InvalidParameter {\"parameter\":\"$3\"}"
}
invalid $broker.Acquire '{}' selectors
invalid $broker.Acquire '{"selectors":[]}' selectors
invalid $broker.Acquire '{"selectors":[{}]}' device
invalid $broker.Acquire "{\"selectors\":[{\"device\":\"$EDU\",\"group\":1}]}" group
invalid $broker.Acquire "{\"selectors\":[{\"device\":\"$EDU\"}],\"waitSeconds\":-1}" waitSeconds
invalid $broker.Acquire "{\"selectors\":[{\"device\":\"$EDU\"}],\"waitSeconds\":\"long\"}" waitSeconds
invalid $broker.Acquire "{\"selectors\":[{\"device\":\"$EDU\"}],\"force\":true}" force
invalid $broker.Acquire "{\"selectors\":[{\"device\":\"$EDU\"}],\"mode\":\"node\"}" mode
invalid $broker.Describe '{"group":9223372036854775807}' group
invalid $broker.Release '{}' token
wrong $broker.List '{}' "org.varlink.service.ExpectedMore {}"
wrong $broker.Monitor '{}' "org.varlink.service.ExpectedMore {}"
wrong $broker.Whatever '{}' "org.varlink.service.MethodNotFound {\"method\":\"$broker.Whatever\"}"
wrong org.vfiod.Nothing.List '{}' 'org.varlink.service.InterfaceNotFound {"interface":"org.vfiod.Nothing"}'
wrong org.vfiod.Ledger.List '{}' 'org.varlink.service.MethodNotFound {"method":"org.vfiod.Ledger.List"}'
many=$(printf "{\"device\":\"$EDU\"},%.0s" {1..65})
wrong $broker.Acquire "{\"selectors\":[${many%,}]}" "$broker.TooMany {\"limit\":\"max-selectors\",\"max\":64}"

# What this kernel does not have is named before anything is touched.
answer=$(refused as_user alice "$PROGRAMS/lib/call" $broker.Acquire "{\"selectors\":[{\"device\":\"$EDU\"}],\"mode\":\"cdev\"}")
assert_contains "$answer" "error $broker.NotSupported {\"missing\":"
assert_contains "$answer" CONFIG_
answer=$(refused as_user alice vfioctl run --device "$EDU" -- true "{iommufd}" 2>&1)
assert_contains "$answer" "cannot acquire $EDU: not supported: "
assert_contains "$answer" CONFIG_
assert_no_writes

in_background alice as_user alice "$PROGRAMS/lib/lease" "$EDU"
alice=$PID
said alice granted
forget_writes
for garbage in '' '[]' '{' '{"method":1}' '{"parameters":{}}' '{"method":"a.b","more":true,"oneway":true}'; do
	answer=$(refused as_user mallory "$PROGRAMS/varlink-call" "$SOCKET" "$garbage" 2>&1)
	assert_contains "$answer" "closed" "'$garbage'"
done
assert_no_writes
assert_eq "$(openers_of "$EDU")" "$alice"
end "$alice"
said alice released
