/* The mains of the programs in the one executable. Each stands in src/cmd/<its name>.c and reads like a table of contents. */
#ifndef CMD_CMD_H
#define CMD_CMD_H

int kube_apiserver_main(int argc, char **argv);
int kube_controller_manager_main(int argc, char **argv);
int cloud_controller_manager_main(int argc, char **argv);
int kube_scheduler_main(int argc, char **argv);
int kubelet_main(int argc, char **argv);
int kube_proxy_main(int argc, char **argv);
int coracle_tunnel_main(int argc, char **argv);
int coracle_hollow_main(int argc, char **argv);

#endif
