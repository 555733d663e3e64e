// Pauses of random length before everything by which threads wait for each other. A kernel without a
// race gives the same bits whatever its threads' pace, so with DELAYS defined (a seed) it must repeat
// what it gave without. Elsewhere they are nothing; the simulator draws its schedules itself.
#pragma once

#if defined(DELAYS) && !defined(TINYGEN_SIM)
// One in four waits is delayed, by up to 4 microseconds. Warps that run together read one clock, so the
// threads of a warp stay together, as instructions for whole warps need it.
__device__ __forceinline__ void delay() {
  unsigned int x = (unsigned int)clock64() ^ (DELAYS + 0x9E3779B9u * (blockIdx.x + 1));
  x = (x ^ x >> 16) * 0x7FEB352Du;
  x = (x ^ x >> 15) * 0x846CA68Bu;
  if (x >> 30 == 0) __nanosleep(x & 4095);
}
#define __syncthreads() (delay(), __syncthreads())
#define __syncwarp() (delay(), __syncwarp())
#else
DEVICE void delay() {}
#endif
