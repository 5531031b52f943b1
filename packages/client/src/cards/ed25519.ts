/**
 * Verifies Ed25519 signatures: with WebCrypto where the platform has Ed25519, otherwise with
 * JavaScript that is loaded on demand (older browsers, and pages without TLS, which have no
 * WebCrypto).
 */

type Bytes = Uint8Array<ArrayBuffer>

export async function verifyEd25519(publicKey: Bytes, signature: Bytes, signed: Bytes): Promise<boolean> {
  const key = await importKey(publicKey)
  if (key === undefined) return verifyWithoutWebCrypto(publicKey, signature, signed)
  return crypto.subtle.verify('Ed25519', key, signature, signed)
}

/** Returns undefined if WebCrypto is missing, or does not support Ed25519. */
async function importKey(publicKey: Bytes): Promise<CryptoKey | undefined> {
  try {
    return await crypto.subtle.importKey('raw', publicKey, 'Ed25519', false, ['verify'])
  } catch {
    return undefined
  }
}

/** Verifies a signature without WebCrypto. */
export async function verifyWithoutWebCrypto(publicKey: Bytes, signature: Bytes, signed: Bytes): Promise<boolean> {
  const [{ hashes, verify }, { sha512 }] = await Promise.all([
    import('@noble/ed25519'),
    import('@noble/hashes/sha2.js'),
  ])
  hashes.sha512 = sha512
  try {
    // Apply the rules of RFC 8032, as WebCrypto does.
    return verify(signature, signed, publicKey, { zip215: false })
  } catch {
    // The signature has a wrong length.
    return false
  }
}
