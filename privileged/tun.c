#include "privileged/helper.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* linux/if_tun.h has them since 6.2. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

static int open_device(void)
{
	return open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

int tun_probe(void)
{
	int fd = open_device();

	return fd < 0 ? -errno : close(fd);
}

/* The most that the kernel takes: bits of enum ipc_offload. */
static uint32_t set_offloads(int fd)
{
	const unsigned long tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;

	if (ioctl(fd, TUNSETOFFLOAD, tso | TUN_F_USO4 | TUN_F_USO6) == 0)
		return IPC_OFFLOAD_CSUM | IPC_OFFLOAD_TSO | IPC_OFFLOAD_USO;
	if (ioctl(fd, TUNSETOFFLOAD, tso) == 0)
		return IPC_OFFLOAD_CSUM | IPC_OFFLOAD_TSO;
	return 0;
}

int serve_tun_open(struct helper *helper, struct job *job)
{
	struct ifreq ifr = {.ifr_flags =
				(short)(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL)};
	const int header_size = IPC_VNET_HEADER_SIZE;
	int rc = 0, fd = job_push(job, open_device());

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
	helper->ifindex = (uint32_t)ifr.ifr_ifindex;
	helper->policy.tun_open = true;
	job->reply.tun_open.ifindex = helper->ifindex;
	job->reply.tun_open.offloads = set_offloads(fd);
	return 0;
}
