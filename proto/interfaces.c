#include "proto/interface.h"

/* Made from proto/ *.varlink by proto/embed.awk. */
const struct varlink_file varlink_files[] = {
#include "interfaces.inc"
};
const size_t n_varlink_files = sizeof(varlink_files) / sizeof(varlink_files[0]);
