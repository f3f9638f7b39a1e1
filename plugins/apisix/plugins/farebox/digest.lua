-- SHA-256, HMAC-SHA256 and comparison in constant time, by the OpenSSL that nginx is linked with.

local ffi = require("ffi")
local C = ffi.C

ffi.cdef[[
unsigned char *SHA256(const unsigned char *data, size_t count, unsigned char *digest);
const void *EVP_sha256(void);
unsigned char *HMAC(const void *kind, const void *key, int key_length, const unsigned char *data, size_t length,
    unsigned char *digest, unsigned int *digest_length);
int CRYPTO_memcmp(const void *a, const void *b, size_t length);
unsigned char *ngx_hex_dump(unsigned char *target, const unsigned char *source, size_t length);
]]

local raw = ffi.new("unsigned char[32]")
local hex = ffi.new("unsigned char[64]")

local _M = {
    -- What no text's digest is: compared with when there is no credential, so that both take the same time.
    NOBODY = ("-"):rep(64),
}


-- The SHA-256 of a text as 64 lower-case hexadecimal digits.
function _M.sha256(text)
    C.SHA256(text, #text, raw)
    C.ngx_hex_dump(hex, raw, 32)
    return ffi.string(hex, 64)
end


-- The HMAC-SHA256 (RFC 2104) of a text as 64 lower-case hexadecimal digits.
function _M.hmac(secret, text)
    C.HMAC(C.EVP_sha256(), secret, #secret, text, #text, raw, nil)
    C.ngx_hex_dump(hex, raw, 32)
    return ffi.string(hex, 64)
end


-- Whether a digest is the expected one. The time taken says nothing about where they differ.
function _M.equal(digest, expected)
    if #digest ~= 64 or #expected ~= 64 then
        return false
    end
    return C.CRYPTO_memcmp(digest, expected, 64) == 0
end


return _M
