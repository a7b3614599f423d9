/*
 * What a fresh cluster is given, and what every start makes sure of: the system namespaces, RBAC's default roles, the system
 * priority classes, the kubernetes Service with its endpoints, the ConfigMap by which other API servers learn to authenticate.
 * Objects that are there already are left as they are, except where upstream reconciles them.
 */
#ifndef APISERVER_STARTUP_H
#define APISERVER_STARTUP_H

struct apiserver;

/* Waits for the caches, then does its work and sets s->started. */
void startup_begin(struct apiserver *s);
/* Stops whatever is still going on. Safe twice. */
void startup_end(struct apiserver *s);
/* Frees what startup_end() left for writes under way; after the store was closed. */
void startup_free(struct apiserver *s);

#endif
