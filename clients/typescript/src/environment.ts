// How the example programs connect.
import type { Options } from "./client.js";

/** Options of ALPHAPANDA_CA, ALPHAPANDA_CERT, ALPHAPANDA_CERT_KEY and ALPHAPANDA_TOKEN_FILE. */
export function optionsOfEnvironment(): Options {
  const ca = process.env["ALPHAPANDA_CA"];
  const cert = process.env["ALPHAPANDA_CERT"];
  const key = process.env["ALPHAPANDA_CERT_KEY"];
  const tokenFile = process.env["ALPHAPANDA_TOKEN_FILE"];
  return { ...(ca ? { ca } : {}), ...(cert ? { cert } : {}), ...(key ? { key } : {}), ...(tokenFile ? { tokenFile } : {}) };
}
