from gws import connect


with connect("ws://localhost:8765") as ws:
    for message in ["hello", "Grüß Gott", b"\x00\x01"]:
        ws.send(message)
        print(ws.recv())
