/* What a backend does with a device by its descriptor (backend.h): the same for all of VFIO's. */
#pragma once

#include <stddef.h>
#include <stdint.h>

int device_reset(void *userdata, int device);
int device_bus_groups(void *userdata, int device, uint32_t *numbers);
int device_reset_bus(void *userdata, int device, const int *groups, size_t n_groups);
