// How the example programs connect.
import type { Options } from "./client.js";

/** Options of ALPHAPANDA_CA and ALPHAPANDA_TOKEN_FILE. */
export function optionsOfEnvironment(): Options {
  const ca = process.env["ALPHAPANDA_CA"];
  const tokenFile = process.env["ALPHAPANDA_TOKEN_FILE"];
  return { ...(ca ? { ca } : {}), ...(tokenFile ? { tokenFile } : {}) };
}
