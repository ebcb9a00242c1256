#include "privileged/helper.h"

#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>

enum {
	TSO = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6,
	USO = 0x60, /* TUN_F_USO4 | TUN_F_USO6: in linux/if_tun.h since 6.2 */
};

/* The most that the kernel takes: bits of enum ipc_offload. */
static uint32_t set_offloads(int fd)
{
	if (ioctl(fd, TUNSETOFFLOAD, TSO | USO) == 0)
		return IPC_OFFLOAD_CSUM | IPC_OFFLOAD_TSO | IPC_OFFLOAD_USO;
	return ioctl(fd, TUNSETOFFLOAD, TSO) == 0 ? IPC_OFFLOAD_CSUM | IPC_OFFLOAD_TSO : 0;
}

int serve_tun_open(struct helper *helper, struct job *job)
{
	struct ifreq ifr = {.ifr_flags =
				(short)(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL)};
	const int header_size = IPC_VNET_HEADER_SIZE;
	int rc = 0, fd = helper->tun;

	if (fd < 0)
		return fd;
	memcpy(ifr.ifr_name, helper->policy.stated.tun_name, IPC_NAME_SIZE);
	sandbox_raise(true);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &header_size) < 0 ||
	    ioctl(helper->netlink, SIOCGIFINDEX, &ifr) < 0)
		rc = -errno;
	sandbox_raise(false);
	if (rc < 0)
		return rc;
	job->out.fds[job->out.fd_count++] = fd;
	helper->ifindex = (uint32_t)ifr.ifr_ifindex;
	helper->policy.tun_open = true;
	job->reply.tun_open.ifindex = helper->ifindex;
	job->reply.tun_open.offloads = set_offloads(fd);
	return 0;
}
