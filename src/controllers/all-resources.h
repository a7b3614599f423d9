/*
 * Informers of every resource that can be listed and deleted, holding metadata alone: what the
 * garbage collector and the namespace controller look at. Where another controller watches the same
 * resource, they share its copy.
 */
#ifndef CONTROLLERS_ALL_RESOURCES_H
#define CONTROLLERS_ALL_RESOURCES_H

#include "client/controller.h"
#include "client/meta.h"

struct all_resources {
    struct {
        const struct api_resource *resource;
        struct informer *informer;
    } * items;
    size_t n;
};

/* Is the verb among the resource's? */
bool resource_has_verb(const struct api_resource *r, struct str verb);
/* Is it one of the resources that are watched here? */
bool resource_is_collected(const struct api_resource *r);
/* Asks for all informers; 'data_of' (may be NULL) gives each listener its data. */
void all_resources_init(struct all_resources *all, struct informers *informers,
                        informer_event_fn *on_event, void *(*data_of)(void *ctx, size_t index),
                        void *ctx);
void all_resources_deinit(struct all_resources *all);

#endif
