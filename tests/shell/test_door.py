async def test_x(door):
    await door.open_wallet()
    said = await door.post_taps(door.tap())
    print(said.body)
    assert said.status == 200
async def test_y(door):
    print(await door.books())
    said = await door.post_taps([door.tap()], packed=True)
    print(said.message)
    assert (await door.ask("GET","/v1/settlements")).status==200
