"""The client of tests/interop (client.py) with the kernel's WireGuard in place of wireguard-go.

    kernel_client.py CONFIG.json
"""

import asyncio
import subprocess

import client
import tunnel


class KernelTunnel(tunnel.Tunnel):
    async def make_interface(self):
        subprocess.run(["ip", "link", "add", self.interface, "type", "wireguard"], check=True)

    async def stop(self):
        subprocess.run(["ip", "link", "del", self.interface], check=False)


tunnel.Tunnel = KernelTunnel

if __name__ == "__main__":
    asyncio.run(client.main())
