/* The weak checksum of RCHECKSUM: two sums modulo 65521 (RFC 1950), both started at 0. Pure function. */
#include "brick/checksum.h"

#define ADLER_MODULUS 65521u
#define ADLER_BLOCK 5552u /* as many bytes as cannot overflow 32 bits */

uint32_t checksum_weak(const uint8_t *data, size_t n)
{
        uint32_t a = 0, b = 0;
        while (n > 0) {
                size_t block = MIN(n, (size_t)ADLER_BLOCK);
                for (size_t i = 0; i < block; i++) {
                        a += data[i];
                        b += a;
                }
                a %= ADLER_MODULUS;
                b %= ADLER_MODULUS;
                data += block;
                n -= block;
        }
        return b << 16 | a;
}
