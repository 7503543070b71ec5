"""A server of completions on loopback, of a small model; it answers as vLLM, as OpenAI, or wrong."""

import json
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch

PLAIN = {"model", "prompt", "max_tokens", "temperature", "top_p", "seed", "echo", "logprobs", "logit_bias", "stop"}
FEATURES = frozenset({"ids", "extensions", "echo", "counts"})  # of an honest server, all of them


class CompletionsServer(ThreadingHTTPServer):
    """models: by name, of transformers; tokenizer: theirs. features: what it can do; without "extensions" it refuses
    what OpenAI does not know, without "ids" it takes texts alone.

    fault: (body, number of the request among those of its body) -> the name of what goes wrong with it, or None.
    asked: all bodies that came. answered: those that were answered rightly. key: that it wants, None for none.
    """

    daemon_threads = False  # a thread that has run a model and does not end aborts the process at its end

    def __init__(self, models, tokenizer, features=FEATURES):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models, self.tokenizer, self.features = models, tokenizer, features
        self.fault = lambda body, number: None
        self.key = None
        self.context = min(model.config.max_position_embeddings for model in models.values())
        self.asked, self.answered, self.headers = [], [], []
        self.lock, self.answers, self.connections = threading.Lock(), 0, []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        for connection in self.connections:
            with suppress(OSError):  # closed by the client
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def get_request(self):
        connection, address = super().get_request()
        self.connections.append(connection)
        return connection, address

    def handle_error(self, *_):  # a client that has gone
        pass

    @torch.no_grad()
    def continued(self, ids, body):
        """(tokens, why they end, their log probabilities) of a body."""
        ends = {*body.get("stop_token_ids", [])} | (set() if body.get("ignore_eos") else {0})
        draw, tokens, values = torch.Generator().manual_seed(body.get("seed", 0)), [], []
        cache = None
        while len(tokens) < body["max_tokens"]:
            unread = tokens[-1:] if tokens else ids
            output = self.models[body["model"]](input_ids=torch.tensor([unread]), past_key_values=cache, use_cache=True)
            cache, scores = output.past_key_values, output.logits[0, -1].double()
            logs = scores.log_softmax(-1)
            for token, bias in body.get("logit_bias", {}).items():
                scores[int(token)] += bias
            if body.get("temperature", 1):
                scores /= body["temperature"]
                if (top_k := body.get("top_k", -1)) > 0 and "no top_k" not in self.features:
                    scores[scores < scores.topk(top_k).values[-1]] = -torch.inf
                if (top_p := body.get("top_p", 1)) < 1:
                    order = scores.argsort(descending=True)
                    before = scores[order].softmax(-1).cumsum(-1).roll(1)
                    scores[order[1:][before[1:] >= top_p]] = -torch.inf
                token = int(torch.multinomial(scores.softmax(-1), 1, generator=draw))
            else:
                token = int(scores.argmax())
            tokens.append(token)
            values.append(float(logs[token]))
            if token in ends:
                return tokens, "stop", values
        return tokens, "length", values

    def text(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    @torch.no_grad()
    def completion(self, body):
        """The answer to a body, or a status."""
        prompt = body["prompt"]
        if (
            "extensions" not in self.features
            and body.keys() - PLAIN
            or isinstance(prompt, list)
            and ("ids" not in self.features)
        ):
            return 400
        ids = prompt if isinstance(prompt, list) else self.tokenizer.encode(prompt, add_special_tokens=False)
        if len(ids) + body["max_tokens"] > self.context:
            return 400
        tokens, reason, values = self.continued(ids, body)
        if body.get("echo") or body.get("prompt_logprobs") is not None:
            logs = self.models[body["model"]](input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
            own, best = logs[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist(), logs[:-1].max(-1)
        choice = {"index": 0, "text": self.text(tokens), "finish_reason": reason, "logprobs": None}
        if "logprobs" in body:
            choice["logprobs"] = {"token_logprobs": values, "tokens": [self.tokenizer.decode([id]) for id in tokens]}
        if body.get("echo") and "echo" in self.features:
            choice["text"] = " ".join(filter(None, (self.text(ids), choice["text"])))
            if "logprobs" in body:
                choice["logprobs"] = {"token_logprobs": [None, *own, *values]}
        if body.get("return_token_ids"):
            choice |= {"token_ids": tokens, "prompt_token_ids": ids}
        if body.get("prompt_logprobs") is not None:
            likeliest = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            choice["prompt_logprobs"] = [None] + [
                {str(token): {"logprob": value}} | {str(ids[i + 1]): {"logprob": own[i], "rank": 1}}
                for i, (token, value) in enumerate(likeliest)
            ]
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(tokens)}
        return {"id": "", "choices": [choice]} | ({"usage": usage} if "counts" in self.features else {})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # it holds a body back until its headers are acknowledged, 40 ms

    def log_message(self, *_):
        pass

    def send(self, status, content, headers=()):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in (("Content-Length", str(len(content))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        if self.path != "/v1/models":
            return self.send(404, {"detail": "Not Found"})
        entries = [
            {"id": name, "created": time.time(), "max_model_len": self.server.context} for name in self.server.models
        ]
        return self.send(200, {"data": entries})

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/completions" or body["model"] not in server.models:
            return self.send(404, {"error": {"message": "no such model"}})
        with server.lock:
            server.headers.append(dict(self.headers))
            if server.key and self.headers.get("Authorization") != f"Bearer {server.key}":
                return self.send(401, {"error": {"message": f"Incorrect API key: {self.headers.get('Authorization')}"}})
            fault = server.fault(body, server.asked.count(body))
            server.asked.append(body)
            if fault == "429":
                return self.send(429, {"error": "slowly"}, [("Retry-After", "0.01")])
            if fault == "500":
                return self.send(500, b"oops")
            if fault == "dropped":
                self.close_connection = True
                return None
            if fault == "HTML":
                return self.send(200, b"<html><body>Sign in</body></html>")
            answer = server.completion(body)
            if isinstance(answer, int):
                return self.send(answer, {"error": {"message": "is not taken"}})
            server.answers += 1
            answer["id"] = f"cmpl-{server.answers}"
            (choice,) = answer["choices"]
            if fault == "repeated":
                answer = server.last
            elif fault == "two choices":
                answer["choices"] = [choice, choice]
            elif fault == "no choices":
                answer["choices"] = []
            elif fault == "silent":
                choice |= {"prompt_logprobs": None, "logprobs": None}
            elif fault == "filtered":
                choice |= {"finish_reason": "content_filter", "text": ""}
            elif fault == "cut":
                choice |= {"text": server.text(choice["token_ids"][:1]), "token_ids": choice["token_ids"][:1]}
                choice["finish_reason"] = "length"
            elif callable(fault):
                fault(answer)
            elif fault is None:
                server.answered.append(body)
            server.last = answer
        if fault == "slow":
            time.sleep(1)
        return self.send(200, answer)
