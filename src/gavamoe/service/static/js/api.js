// The service's answers as objects, its failures as sentences.

import { read, write } from "./storage.js";

const KEPT_MS = 60_000; // how long the run's summary, clusters and map are reused
const STORE = "gavamoe-key";
const kept = new Map();
let askForKey = null;

/** A failure that the page can show as it is. */
export class ServiceError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

/** Set what asks the person for an API key; it returns a promise of the key, or of null. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

export const get = (path, signal) => call("GET", path, undefined, signal);
export const post = (path, body, signal) => call("POST", path, body, signal);

/** GET something that rarely changes, once a minute at most. */
export function getKept(path) {
  const old = kept.get(path);
  if (old && Date.now() - old.since < KEPT_MS) return old.answer;
  const answer = get(path);
  kept.set(path, { answer, since: Date.now() });
  answer.catch(() => kept.delete(path));
  return answer;
}

/** The path of something with an id: ids may hold any character. */
export const at = (kind, id) => `v1/${kind}/${encodeURIComponent(id)}`;

/** POST and read server-sent events; yields {event, data} as they come. */
export async function* stream(path, body, signal) {
  const response = await request("POST", path, body, signal, "text/event-stream");
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      buffer = (buffer + value).replace(/\r\n/g, "\n");
      let end;
      while ((end = buffer.indexOf("\n\n")) >= 0) {
        const event = parseEvent(buffer.slice(0, end));
        buffer = buffer.slice(end + 2);
        if (event) yield event;
      }
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("The connection broke while the text was being written. Please try again.");
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parseEvent(block) {
  let event = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) event = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
  }
  return data.length ? { event, data: JSON.parse(data.join("\n")) } : null;
}

async function call(method, path, body, signal) {
  const response = await request(method, path, body, signal, "application/json");
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("The service answered something that is not JSON. A proxy in between may be at fault.");
  }
}

async function request(method, path, body, signal, accept) {
  const headers = { Accept: accept };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const key = read("sessionStorage", STORE);
  if (key) headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { method, headers, signal, body: body && JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("The service cannot be reached. Is gavamoe serve still running?");
  }
  if (response.ok) return response;
  if (response.status === 401 && askForKey) {
    const entered = await askForKey(Boolean(key));
    if (entered) {
      write("sessionStorage", STORE, entered);
      return request(method, path, body, signal, accept);
    }
  }
  throw new ServiceError(await sentence(response), response.status);
}

async function sentence(response) {
  let told = "";
  try {
    const answer = await response.json();
    told = typeof answer.error === "string" ? answer.error : "";
  } catch {
    told = "";
  }
  const seconds = Number(response.headers.get("Retry-After"));
  switch (response.status) {
    case 401:
      return "The service did not accept the API key.";
    case 429:
      return `The service has all the requests it can take. Try again in ${seconds > 0 ? `${seconds} s` : "a moment"}.`;
    case 504:
      return "The service ran out of time for this request. Try again when it is less busy.";
    case 503:
      if (told) return said(told);
      return "The service is not ready: the model may still be loading. Try again in a moment.";
    default:
      return told ? said(told) : `The service answered with error ${response.status}.`;
  }
}

const said = (told) => `The service says: ${told}.`.replace(/([.!?])\.$/, "$1");
