/* Events of --json-progress: JSON objects, one a line, on a descriptor that the user names. Every
 * one has "event" and "time", seconds of the clock that never goes back. */
#pragma once

#include "src/base/error.h"
#include "src/base/json.h"

/* The descriptor is open for writing, else VLMP_ERR_USAGE. From here on a reader that went away
 * ends no run: SIGPIPE is ignored. */
int vlmp_events_open(int descriptor, vlmp_error *err);

/* "{"event": kind, "time": …": the caller adds pairs and sends. */
void vlmp_event_begin(vlmp_json_writer *w, const char *kind);

/* Closes the object and writes it. Whether anyone reads it changes nothing: what a full pipe does
 * not take within so many milliseconds is dropped. */
void vlmp_event_send(vlmp_json_writer *w, int descriptor, int wait);

/* For events that come once. */
#define VLMP_EVENT_WAIT 1000
