/* The book as `ledger` and `status` print it: rows, amounts. */
#pragma once

#include "client/vfioctl/table.h"
#include "client/vfioctl/vfioctl.h"

#define AMOUNT 48 /* room for "1023.9 KiB of 1023.9 EiB" */

/* entry[key], of entry[limit] unless that is NULL or null. buffer: AMOUNT bytes. */
void ledger_amount(struct json_object *entry, const char *key, const char *limit, char *buffer);
/* Add a row, and below it those for what is mapped by its holders themselves. 0 or -ENOMEM. */
int ledger_account_row(struct table *table, struct json_object *account);
int ledger_space_row(struct table *table, struct json_object *space);
int ledger_lease_row(struct table *table, struct json_object *lease);
