/* Every bound of the room, its reason and what happens there. */
#ifndef CLOUD_LIMITS_H
#define CLOUD_LIMITS_H

/* Questions to a provider that are under way together, for one controller: a provider that answers late must not make us hold
 * every object of the cluster. Beyond: the key is looked at again later. */
#define CLOUD_CALLS_MAX 64
/* How long a provider may take. Beyond: the pass fails and is tried again with back-off. */
#define CLOUD_CALL_MS 30000
/* What one answer may hold. Beyond: the provider's own error. */
#define CLOUD_ANSWER_MAX (256u << 10)

/* --cloud-config. Beyond: an error at start. */
#define CLOUD_CONFIG_MAX (1u << 20)
#define CLOUD_CONFIG_NODES 10000
#define CLOUD_CONFIG_POOLS 256
#define CLOUD_CONFIG_RANGES 1024
#define CLOUD_CONFIG_ADDRESSES 32 /* of one node */

/* Load balancers' addresses that one agent may stand for. Each costs a Lease that is renewed and a multicast group in IPv6. Beyond:
 * the address is not stood for, and the log says so. */
#define CLOUD_ANNOUNCE_MAX 4096
/* Links that one pool may name. */
#define CLOUD_POOL_INTERFACES 8
/* Links an agent speaks on. Beyond: the others are not used. */
#define CLOUD_LINKS_MAX 64
/* ARP and ND answers a second, on all links: a flood of questions costs no more. Beyond: not answered; who asks repeats. */
#define CLOUD_ANSWERS_PER_S 2000
/* Times we defend an address against a machine that claims it: at most once in this time (RFC 5227, 2.4c: DEFEND_INTERVAL). */
#define CLOUD_DEFEND_MS 10000

#endif
