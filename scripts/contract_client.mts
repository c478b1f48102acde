// One call with the types that openapi-typescript generated.
import createClient from "openapi-fetch";
import { argv } from "node:process";
import type { paths } from "./schema.d.ts";

const [url, token] = argv.slice(2);
const client = createClient<paths>({ baseUrl: url, headers: { authorization: `Bearer ${token}` } });
const { data, error } = await client.GET("/api/v1/domains", { params: { query: { q: "web", limit: 2 } } });
const names: string[] = (data?.domains ?? []).map((machine) => machine.name);
if (names.join() !== "web-01,web-02") throw new Error(`${names} ${JSON.stringify(error)}`);
