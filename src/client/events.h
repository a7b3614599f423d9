/*
 * Event recording as client-go does it (core/v1 Event): equal events within ten minutes are counted
 * in one object; more than ten similar ones are aggregated; a source is limited to 25 at once and
 * one per five minutes an object. Recording never blocks and never fails the caller: an event that
 * cannot be written is logged and dropped. Events are written one after another, so that they leave
 * the connection and the server to the writes that somebody waits for; equal ones that wait are one.
 */
#ifndef CLIENT_EVENTS_H
#define CLIENT_EVENTS_H

#include "client/client.h"

struct event_recorder;

/* 'component' and 'host' become source; 'host' may be "". */
struct event_recorder *event_recorder_new(struct client *c, const char *component,
                                          const char *host);
struct event_recorder *event_recorder_free(struct event_recorder *r);
/* The object an event is about: what ObjectReference holds. */
struct event_subject {
    struct str api_version, kind, ns, name, uid, resource_version, field_path;
};
/* From an object of resource 'r'. */
struct event_subject event_subject_of(const struct api_resource *r, const void *obj);
PRINTF_LIKE(5, 6)
void event_record(struct event_recorder *r, const struct event_subject *s, const char *type,
                  const char *reason, const char *fmt, ...);

#endif
