/* How setup() of a controller begins: its state, and the informers that it reads. */
#ifndef CONTROLLERS_SETUP_H
#define CONTROLLERS_SETUP_H

#include "client/controller.h"

/* Zeroed memory from malloc(). */
void *state_new(size_t size);
/* The informer of a resource in version v1 over all namespaces, with these fields of its objects; 'on_event' may be NULL. */
struct informer *informer_of(struct informers *informers, const char *group, const char *resource,
                             const char *const *fields, informer_event_fn *on_event, void *data);
/* The same for the resource whose objects are the controller's keys: each event enqueues its object. */
struct informer *informer_of_keys(struct controller *c, struct informers *informers,
                                  const char *group, const char *resource,
                                  const char *const *fields);

/* All fields but the ones that only the apiserver needs. */
extern const char *const whole_objects[];

#endif
