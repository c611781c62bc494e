/*
 * System calls that fail on demand: opendir, fopen, open, readlink, realpath and lstat of
 * anything below /sys, and events of the udev monitor. By defining the functions themselves, so
 * that the tested code is the daemon's own.
 */
#pragma once

#include <stdbool.h>

/* The k-th call from now on (1 = the next) fails with EMFILE; 0: none. */
void faults_fail_call(unsigned k);
/* How many were made since; whether the fault has struck. */
bool faults_struck(void);

enum event_fault {
	EVENTS_ARRIVE,
	EVENTS_VANISH,  /* are read and lost, silently: as if there had been none */
	EVENTS_OVERRUN, /* the next reading says ENOBUFS, once; then EVENTS_ARRIVE */
	EVENTS_ENDLESS, /* the next event comes again and again */
};
void faults_set_events(enum event_fault fault);
/* Readings of the monitor that gave an event, since faults_set_events(). */
unsigned faults_n_events(void);
