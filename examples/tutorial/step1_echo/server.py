def echo(ws):
    for message in ws:
        ws.send(message)
