/* Which of the kernel's two interfaces a new space has (keeper/backend.h). */
#pragma once

#include "daemon/lease/config.h"

const char *backend_name(bool is_iommufd); /* "iommufd" or "type1"; as in org.vfiod.Space */
/* As the configuration wants it, and this kernel has it. 0; REFUSED: NOT_SUPPORTED. */
int backend_choose(enum backend_choice wanted, bool *is_iommufd, struct refusal *refusal);
