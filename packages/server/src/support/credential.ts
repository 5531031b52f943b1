/**
 * How a client authenticated. `cookie`: by its session cookie. `device-token`: by a user token, for
 * the session of a device. `lone-token`: by a user token, for a session that ends with the
 * connection.
 */
export type Credential = 'cookie' | 'device-token' | 'lone-token'
